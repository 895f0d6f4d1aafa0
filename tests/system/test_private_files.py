"""Files that we create: private to their owner, unless a folder is shared on purpose, and never replaced."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.command import inherited
from support.data_folder import DataFolder
from support.deadline import HANG_S
from support.disk import mounted
from support.receiver import NOON_US, make_delivery

from connector.journal.delivery import Group, to_batch
from connector.landing.files import Landing
from connector.landing.zones import EVENTS
from connector.system.env_file import add_variable, store_webhook_secret
from connector.system.files import make_folder, move_without_replacing
from connector.system.lock import hold_lock, is_held
from connector.verbex.answer import ApiUnavailableError
from pipelines.enrichment.hold import note_hold


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """Let other users read new files, as most systems do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    """Return the permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def land(folder: Path) -> Path:
    """Land one delivery, and return the file."""
    batch = to_batch("r", [Group(0, [make_delivery(received_at_us=NOON_US)])])
    (file,) = Landing(str(folder)).write_batches([batch], zone=EVENTS, name="a")
    return folder / file.path


def test_what_is_created_is_private_to_its_owner(tmp_path: Path) -> None:
    """Folders with all their parents, and the landed file in them."""
    file = land(tmp_path / "data" / "landing")
    assert mode_of(file) == 0o600
    for folder in (tmp_path / "data", tmp_path / "data" / "landing", file.parent):
        assert mode_of(folder) == 0o700


@pytest.mark.parametrize(
    "words", [["sync"], ["demo", "--calls", "1"], ["serve", "--port", "0"], ["ui", "--port", "0"]]
)
def test_every_command_makes_a_data_folder_that_is_private(tmp_path: Path, words: list[str]) -> None:
    """Whoever is first to write in it. What is in it may be what callers said."""
    data = tmp_path / "new" / "data"
    command = [sys.executable, "-m", "pipelines.cli", *words]
    settings = {"VERBEX_DATA_DIR": str(data), "VERBEX_ALLOW_UNSIGNED": "true"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=inherited() | settings, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + HANG_S
        while not data.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.terminate()
    assert (mode_of(data.parent), mode_of(data)) == (0o700, 0o700)


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o750])
def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """What is created in it is private."""
    tmp_path.chmod(mode)
    make_folder(tmp_path / "a" / "b")
    assert (mode_of(tmp_path), mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")) == (mode, 0o700, 0o700)


def test_a_folder_that_is_shared_with_its_group_stays_shared(tmp_path: Path) -> None:
    """The setgid bit says that it is on purpose: receiver and sync may be two users of one group."""
    tmp_path.chmod(0o2770)
    file = land(tmp_path)
    assert (mode_of(file.parent), mode_of(file)) == (0o2770, 0o660)


def test_a_file_is_never_renamed_over_another(tmp_path: Path) -> None:
    """Both stay as they are."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        move_without_replacing(tmp_path / "a", tmp_path / "b")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["a", "b"]
    move_without_replacing(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_an_env_file_that_we_create_is_private(tmp_path: Path) -> None:
    """Also if what is written first is no secret."""
    add_variable(tmp_path / ".env", "DAGSTER_HOME", "here")
    assert mode_of(tmp_path / ".env") == 0o600


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o600, 0o600), (0o400, 0o400)])
def test_a_stored_secret_is_readable_only_by_its_owner(tmp_path: Path, before: int, after: int) -> None:
    """A mode that is tighter stays."""
    env_file = tmp_path / ".env"
    env_file.write_text("A=b\n")
    env_file.chmod(before)
    store_webhook_secret(SecretStr("whsec_a"), env_file)
    assert mode_of(env_file) == after
    assert env_file.read_text() == "A=b\nVERBEX_WEBHOOK_SECRETS=whsec_a\n"


def test_an_env_file_that_cannot_be_read_is_not_touched(tmp_path: Path) -> None:
    """Neither its content nor its mode."""
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"# caf\xe9\n")
    env_file.chmod(0o640)
    with pytest.raises(UnicodeDecodeError):
        store_webhook_secret(SecretStr("whsec_a"), env_file)
    assert (env_file.read_bytes(), mode_of(env_file)) == (b"# caf\xe9\n", 0o640)


def take_lock(folder: Path) -> None:
    """Write the file `a.lock`."""
    with hold_lock(folder / "a.lock"):
        pass


def hold_fetches(folder: Path) -> None:
    """Write the file `fetch.hold`."""
    note_hold(DataFolder(folder), ApiUnavailableError("busy", retry_after_s=3600), datetime.now(UTC))


@pytest.mark.parametrize(("name", "write"), [("a.lock", take_lock), ("fetch.hold", hold_fetches)])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_a_file_of_ours_leads_to_no_other_file(
    tmp_path: Path, name: str, write: Callable[[Path], None], *, exists: bool
) -> None:
    """Whoever else may write in a shared folder could have our user empty or make a file anywhere."""
    (tmp_path / "data").mkdir()
    other = tmp_path / "other"
    if exists:
        other.write_text("of somebody")
    (tmp_path / "data" / name).symlink_to(other)
    with pytest.raises(OSError, match=f"{name} is a link"):
        write(tmp_path / "data")
    assert (other.read_text() if exists else other.exists()) == ("of somebody" if exists else False)


def test_a_lock_can_be_held_on_a_full_disk(tmp_path: Path) -> None:
    """The number in it is only for people, and what starts on a full disk must be able to say so."""
    with mounted(tmp_path / "disk", "size=16k") as disk:
        (disk / "lock").touch()
        with pytest.raises(OSError, match="No space left"):
            (disk / "rest").write_bytes(bytes(100_000))
        with hold_lock(disk / "lock"):
            assert is_held(disk / "lock")


@pytest.mark.parametrize(
    "secret", ["whsec_a,whsec_b", "whsec_a\nVERBEX_ALLOW_UNSIGNED=true", "whsec_\x00", "whsec_ "]
)
def test_a_text_that_can_be_no_single_secret_is_not_stored(tmp_path: Path, secret: str) -> None:
    """It would become two secrets, or a line of its own that sets anything."""
    env_file = tmp_path / ".env"
    env_file.write_text("A=b\n")
    with pytest.raises(ValueError, match="no signing secret") as caught:
        store_webhook_secret(SecretStr(secret), env_file)
    assert secret not in str(caught.value)
    assert env_file.read_text() == "A=b\n"
