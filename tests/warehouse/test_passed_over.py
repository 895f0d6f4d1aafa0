"""Files in landing that are copies of ours, or of others: they change no number, and block nothing."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from support.command import Run
from support.data_folder import NOON, NOON_US, DataFolder, body
from support.oracle import STARTED
from support.receiver import make_delivery, seal_all

from connector.journal.delivery import Group
from connector.journal.segment import Segment
from connector.landing.compaction import compact
from connector.landing.zones import ACTIONS, EVENTS, ZONES
from pipelines.actions.steps import StepRow, land_steps
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.intake import list_new_files


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files in every zone, one of the deliveries no event, all loaded."""
    made = DataFolder(tmp_path_factory.mktemp("loaded"))
    for number in range(2):
        land(made, number)
        for zone in ZONES:
            if zone is ACTIONS:
                land_steps(made.landing, f"actor-{number}", [(0, StepRow(NOON, "named", "mine"))])
            elif zone is not EVENTS:
                outcome = "listed" if zone.name == "listed" else "failed"
                made.land_answers(zone, [{"call_id": f"call-{number}", "outcome": outcome, "body": b"{}"}])
    made.sync()
    return made.path


@pytest.fixture
def folder(loaded: Path, tmp_path: Path) -> DataFolder:
    """A copy of that folder, to put copies into."""
    shutil.copytree(loaded, tmp_path / "data", symlinks=True)
    return DataFolder(tmp_path / "data")


def land(folder: DataFolder, number: int) -> None:
    folder.land(
        [body(f"trace-{number}", STARTED, f"call-{number}", number), b"no event"],
        received_at_us=NOON_US + number * 60_000_000,
    )


def sources(folder: DataFolder) -> Iterator[Path]:
    """Yield a landed file of every zone."""
    for zone in ZONES:
        yield min((folder.path / "landing" / zone.folder).glob("date=*/*.parquet"))


def beside(name: str) -> Callable[[DataFolder], None]:
    def put(folder: DataFolder) -> None:
        for source in sources(folder):
            shutil.copy(source, source.with_name(f"{name.format(source.stem)}.parquet"))

    return put


def in_folder(name: str) -> Callable[[DataFolder], None]:
    def put(folder: DataFolder) -> None:
        for source in sources(folder):
            shutil.copytree(source.parent, source.parent.with_name(name.format(source.parent.name)))

    return put


def a_merged_file_again(folder: DataFolder) -> None:
    """Restore the parts beside a merged file, and copy that under a name of no part."""
    for source in sources(folder):
        shutil.copytree(source.parent, folder.path / "aside" / source.parent.parent.name / "day")
    for zone in ZONES:
        compact(folder.landing, zone, before=date(2030, 1, 1))
    for merged in (folder.path / "landing").rglob("merged-*.parquet"):
        shutil.copy(merged, merged.with_name(f"{merged.stem} copy.parquet"))
        shutil.copy(merged, merged.with_name("restored.parquet"))
        shutil.copytree(
            folder.path / "aside" / merged.parent.parent.name / "day", merged.parent, dirs_exist_ok=True
        )


def files_of_others(folder: DataFolder) -> None:
    for source in sources(folder):
        for name in ("notes.txt", "export (1).parquet", ".hidden.parquet", "report.csv"):
            (source.parent / name).write_text("mine")


COPIES = {
    "copied by a file manager": beside("{} copy"),
    "copied again": beside("{} (1)"),
    "a sync conflict": beside("{}.sync-conflict-20260101-101500-ABCDEFG"),
    "a name of letters alone": beside("copy"),
    "a name that begins like ours": beside("{}-old"),
    "a day's folder kept": in_folder("{}.bak"),
    "a day's folder copied": in_folder("{} (1)"),
    "a day's folder as another day": in_folder("date=2025-11-10"),
    "a day that does not exist": in_folder("date=2025-13-10"),
    "merged, copied and restored": a_merged_file_again,
    "files of others": files_of_others,
}


@pytest.mark.parametrize("put", COPIES.values(), ids=COPIES)
def test_copies_change_no_number_and_block_nothing(
    folder: DataFolder, put: Callable[[DataFolder], None]
) -> None:
    """In every zone; what lands next is loaded, also by a rebuild, and nothing is tried for ever."""
    before = folder.tables()
    put(folder)
    there = {path: path.read_bytes() for path in (folder.path / "landing").rglob("*") if path.is_file()}
    folder = DataFolder(folder.path)
    for _ in range(3):
        folder.sync()
        assert folder.tables() == before
    assert list_new_files(folder, folder.models) == []
    land(folder, 5)
    folder.sync()
    assert folder.rows("select count(*), sum(deliveries) from events") == [(3, 3)]
    assert folder.rows("select count(*) from quarantine") == [(3,)]
    assert [found.table for found in compare_with_rebuild(folder) if not found.is_equal] == []
    after = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == after
    assert all(path.read_bytes() == content for path, content in there.items())


def test_a_copy_that_was_passed_over_may_be_removed(folder: DataFolder) -> None:
    """It is not missed, because no row came from it."""
    beside("copy")(folder)
    folder.sync()
    for source in sources(folder):
        source.with_name("copy.parquet").unlink()
    for number in (5, 6):
        land(folder, number)
        folder.sync()
    assert folder.rows("select count(*) from events") == [(4,)]


def test_a_file_that_gets_its_name_back_is_loaded(folder: DataFolder) -> None:
    """The message says so: a person may have renamed the only one there is."""
    land(folder, 5)
    source = max((folder.path / "landing").glob("date=*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    renamed = source.rename(source.with_name("renamed.parquet"))
    assert (
        "give this one its name"
        in folder.sync()["events"].passed_over[f"{source.parent.name}/renamed.parquet"]
    )
    renamed.rename(source)
    folder.sync()
    assert folder.rows("select count(*) from events") == [(3,)]


def test_a_sync_names_each_copy_once_and_status_counts_them(run: Run, folder: DataFolder) -> None:
    """Which file, why, and what to do."""
    beside("{} copy")(folder)
    in_folder("{}.bak")(folder)
    done = run("sync")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("Passed over")]
    assert len([line for line in lines if " copy.parquet: " in line and "Remove it if" in line]) == len(ZONES)
    assert len([line for line in lines if ".bak: " in line and "Remove it if" in line]) == len(ZONES)
    assert len(lines) == 2 * len(ZONES)
    status = json.loads(run("status", "--format", "json").stdout)
    assert status["landed_files_passed_over"] == 2 * len(ZONES)
    assert status["landed_files_to_load"] == 0


async def test_what_a_twin_of_a_receiver_lands_is_loaded(tmp_path: Path) -> None:
    """It lands under an id and a name of its own, because the ids and numbers of both are the same."""
    folder = DataFolder(tmp_path / "data")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        segment = Segment(tmp_path / name / "r-000001.segment", "r")
        event = body(f"trace-{name}", STARTED, f"call-{name}", 0)
        segment.append(Group(0, [make_delivery(event, trace_id=f"trace-{name}")]))
        segment.close()
        await seal_all(tmp_path / name, str(folder.path / "landing"))
    updates = folder.sync()
    assert folder.rows("select call_id from calls order by all") == [("call-first",), ("call-second",)]
    assert not any(update.passed_over for update in updates.values())
