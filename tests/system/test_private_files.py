"""Files that we create: private to their owner, unless a folder is shared on purpose, and never replaced."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.receiver import NOON_US, make_delivery

from connector.journal.delivery import Group, to_batch
from connector.landing.files import Landing
from connector.landing.zones import EVENTS
from connector.system.env_file import add_variable, store_webhook_secret
from connector.system.files import make_folder, move_without_replacing


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
