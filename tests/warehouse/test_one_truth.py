"""Warehouse files that take turns say one thing, whatever was done to them, to the SQL or to the reader."""

import json
import random
import shutil
from itertools import count
from pathlib import Path

import duckdb
import pytest
from support.data_folder import NOON_US, DataFolder, body
from support.oracle import ENDED, STARTED

from connector.verbex.envelope import Envelope, read_envelope
from pipelines.models.sql_file import sql_folder
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse import ledger, reader
from pipelines.warehouse.intake import list_new_files


def lenient_reader(raw: bytes) -> Envelope:
    """A reader that has learned to read one more shape of body."""
    try:
        legacy = json.loads(raw)["legacy"]
    except (ValueError, KeyError, TypeError):
        return read_envelope(raw)
    return Envelope(str(legacy), STARTED, None)


class Folder:
    """A data folder with SQL of its own, and what a person, a crash or an upgrade may do to it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        shutil.copytree(sql_folder(), path / "sql")
        self.data = DataFolder(path / "data", sql_dir=path / "sql")
        self._saved = path / "saved"
        self._patch = monkeypatch
        self._rng = rng
        self._numbers = count()

    def land(self) -> None:
        """Land a call, a body that is no event, and one that only a later reader can read."""
        number = next(self._numbers)
        events = [body(f"s{number}", STARTED, f"c{number}", 0), body(f"e{number}", ENDED, f"c{number}", 5)]
        legacy = json.dumps({"legacy": f"l{number}", "timestamp": 1_762_600_000}).encode()
        self.data.land([*events, b"no event", legacy], received_at_us=NOON_US + number * 60_000_000)

    def refresh(self) -> None:
        """Build every table from landing again."""
        self.data.sync(is_full_refresh=True)

    def change_sql(self) -> None:
        """Change a core table's statement, as an upgrade does."""
        path = self.data.sql_dir / "core" / "calls.sql"
        path.write_text(path.read_text() + f"-- {next(self._numbers)}\n")

    def change_own_model(self) -> None:
        """Change a table of the customer's own."""
        text = f"select count(*) + {self._rng.randrange(9)} as calls from calls"  # noqa: S608
        (self.data.sql_dir / "marts" / "mine.sql").write_text(text)

    def upgrade_reader(self) -> None:
        """Read one more shape of body from now on."""
        self._patch.setattr(reader, "read_envelope", lenient_reader)
        self._patch.setattr(ledger, "reader_digest", lambda: "a later reader")

    def downgrade_reader(self) -> None:
        """Read that shape no more."""
        self._patch.setattr(reader, "read_envelope", read_envelope)
        self._patch.setattr(ledger, "reader_digest", reader.reader_digest)

    def spoil_every_file(self) -> None:
        """Change rows behind our back in every file, as a fault of ours would, and have them built again."""
        for path in self.data.warehouse_files():
            path.chmod(0o644)
            with duckdb.connect(str(path)) as connection:
                connection.execute("update stored.calls set agent_id = 'spoiled'")
        self.refresh()

    def delete_a_file(self) -> None:
        """Lose a warehouse file, maybe the published one."""
        self._rng.choice(self.data.warehouse_files()).unlink()

    def delete_the_link(self) -> None:
        """Lose what readers open."""
        self.data.warehouse.published.unlink()

    def save(self) -> None:
        """Take a backup of the warehouse files and of the link."""
        shutil.rmtree(self._saved, ignore_errors=True)
        self._saved.mkdir()
        shutil.copytree(self.data.path / "warehouse", self._saved / "warehouse")
        link = self.data.warehouse.published
        (self._saved / link.name).symlink_to(link.readlink())

    def restore(self) -> None:
        """Put the backup back over whatever is there."""
        if self._saved.is_dir():
            self.data.warehouse.published.unlink(missing_ok=True)
            shutil.copytree(self._saved, self.data.path, symlinks=True, dirs_exist_ok=True)

    def interrupt_a_refresh(self) -> None:
        """Stop a refresh half way, as a kill does."""
        with self.data.warehouse.write(is_fresh=True) as file:
            file.connection.execute("create schema if not exists ops")

    def assert_one_truth(self) -> None:
        """Three syncs in a row say the same, and what a rebuild says."""
        seen = []
        for _ in range(3):
            self.data.sync()
            seen.append(self.data.tables())
        assert seen[0] == seen[1] == seen[2]
        assert [found.table for found in compare_with_rebuild(self.data) if not found.is_equal] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder whose tables were synced into several files."""
    made = Folder(tmp_path, monkeypatch, random.Random(1))
    for _ in range(3):
        made.land()
        made.data.sync()
    return made


def counted(folder: Folder) -> tuple[int, int]:
    ((events, quarantined),) = folder.data.rows(
        "select (select count(*) from events), (select count(*) from quarantine)"
    )
    return events, quarantined


def test_what_a_refresh_put_right_is_not_undone_by_the_next_sync(folder: Folder) -> None:
    """The files that it did not write hold the old rows; they never take a turn again."""
    folder.spoil_every_file()
    folder.assert_one_truth()
    assert folder.data.rows("select count(*) from calls where agent_id = 'spoiled'") == [(0,)]


def test_a_better_reader_replays_the_quarantine_in_every_file(folder: Folder) -> None:
    """Also without a refresh: tables that another reader loaded are outdated like those of other SQL."""
    assert counted(folder) == (6, 6)
    folder.upgrade_reader()
    folder.assert_one_truth()
    assert counted(folder) == (9, 3)
    folder.downgrade_reader()
    folder.assert_one_truth()
    assert counted(folder) == (6, 6)


def test_a_refresh_that_was_stopped_leaves_what_was_published(folder: Folder) -> None:
    """Its half of a file is not taken for one that rests."""
    before = folder.data.tables()
    folder.interrupt_a_refresh()
    assert folder.data.tables() == before
    folder.assert_one_truth()
    assert folder.data.tables() == before


def test_files_that_are_not_ours_are_left_alone(folder: Folder) -> None:
    """A copy that a person keeps in the folder of warehouse files is neither written nor removed."""
    kept = folder.data.path / "warehouse" / "before-the-upgrade.duckdb"
    kept.write_bytes(b"not even a database")
    folder.refresh()
    folder.data.sync()
    assert kept.read_bytes() == b"not even a database"


def test_files_of_an_earlier_layout_are_replaced_by_themselves(folder: Folder) -> None:
    """They were all in one folder, and their names differed. The published numbers stay."""
    warehouse = folder.data.path / "warehouse"
    published = folder.data.warehouse.published.resolve()
    for number, path in enumerate(folder.data.warehouse_files()):
        earlier = warehouse / f"g4-{number}.duckdb"
        path.rename(earlier)
        shutil.rmtree(path.parent)
        if path == published:
            folder.data.warehouse.published.unlink()
            folder.data.warehouse.published.symlink_to(f"warehouse/{earlier.name}")
    before = folder.data.tables()
    folder.data.sync()
    assert folder.data.tables() == before
    folder.assert_one_truth()
    assert list(warehouse.glob("*.duckdb")) == []
    assert {path.parent.name[:3] for path in folder.data.warehouse_files()} == {"g4-"}


@pytest.mark.parametrize(
    "earlier",
    [
        "drop table ops.days; alter table ops.loads drop column day",
        "alter table ops.days rename mark to digest",
        "drop table ops.loads; create table ops.loads (path varchar, rows bigint)",
    ],
)
@pytest.mark.parametrize("is_full_refresh", [False, True])
def test_files_with_the_bookkeeping_of_another_version_are_built_again(
    folder: Folder, earlier: str, is_full_refresh: bool
) -> None:
    """As damaged files are, also the published one; follow mode sees that there is something to load."""
    before = folder.data.tables()
    for path in folder.data.warehouse_files():
        path.chmod(0o644)
        with duckdb.connect(str(path)) as connection:
            connection.execute(earlier)
    assert list_new_files(folder.data, folder.data.models)
    folder.data.sync(is_full_refresh=is_full_refresh)
    assert folder.data.tables() == before
    folder.assert_one_truth()
    assert folder.data.tables() == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_done_in_whatever_order_every_sync_says_what_a_rebuild_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Landing, syncs, refreshes, changed SQL, changed readers, lost, restored and spoiled files."""
    rng = random.Random(seed)
    folder = Folder(tmp_path, monkeypatch, rng)
    folder.land()
    folder.data.sync()
    steps = (
        *(folder.land, folder.refresh, folder.change_sql, folder.change_own_model, folder.upgrade_reader),
        *(folder.downgrade_reader, folder.spoil_every_file, folder.delete_a_file, folder.delete_the_link),
        *(folder.save, folder.restore, folder.interrupt_a_refresh),
    )
    for _ in range(12):
        rng.choice(steps)()
        folder.assert_one_truth()
