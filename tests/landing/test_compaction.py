"""Compaction: fewer files, and the same files and rows for every reader."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from support.deadline import HANG_S
from support.receiver import NOON_US, landed_rows, make_delivery

from connector.journal.delivery import Group, to_batch
from connector.landing.compaction import compact, compact_crowded
from connector.landing.files import LandedFile, Landing
from connector.landing.zones import ANSWER_SCHEMA, EVENT_SCHEMA, EVENTS, PCA

DAY = "date=2025-11-09"
NEXT_DAY = date(2025, 11, 10)


def land(landing: Landing, *names: str) -> None:
    """One small file for each name, with two deliveries."""
    for number, name in enumerate(names):
        deliveries = [make_delivery(f"{name} {n}".encode(), received_at_us=NOON_US + n) for n in range(2)]
        table = pa.Table.from_batches([to_batch(name, [Group(2 * number, deliveries)])])
        landing.write(table, zone=EVENTS, name=name)


def view(landing: Landing) -> list[tuple[LandedFile, pa.Table]]:
    """Return all that a reader can see: files and their rows."""
    return [(file, landing.read(file, EVENT_SCHEMA)) for file in landing.list_files(EVENTS)]


def stored(folder: Path) -> list[str]:
    """Return the names of the files that really exist."""
    return sorted(path.name for path in (folder / DAY).iterdir())


def test_small_files_become_one_and_a_reader_sees_the_same(tmp_path: Path) -> None:
    """Paths, sizes and rows are the same, from a single file. A second run has nothing to do."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b", "c")
    before = view(landing)
    assert compact(landing, EVENTS, before=NEXT_DAY) == 3
    assert len(stored(tmp_path)) == 1
    assert view(landing) == view(Landing(str(tmp_path))) == before
    assert compact(landing, EVENTS, before=NEXT_DAY) == 0
    assert len(stored(tmp_path)) == 1


def test_a_day_that_is_not_over_and_a_single_file_are_not_merged(tmp_path: Path) -> None:
    """More files of that day may come, and a single file can't be merged."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b")
    assert compact(landing, EVENTS, before=date(2025, 11, 9)) == 0
    (tmp_path / DAY / "b.parquet").unlink()
    assert compact(landing, EVENTS, before=NEXT_DAY) == 0
    assert stored(tmp_path) == ["a.parquet"]


def test_zones_are_compacted_apart(tmp_path: Path) -> None:
    """One zone's files are not another's."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b")
    for name in ("c", "d"):
        row = {"fetcher_id": name, "sequence": 0, "attempted_at": NOON_US, "call_id": "", "outcome": "failed"}
        landing.write(pa.Table.from_pylist([row], ANSWER_SCHEMA), zone=PCA, name=name)
    assert compact(landing, PCA, before=NEXT_DAY) == 2
    assert stored(tmp_path) == ["a.parquet", "b.parquet"]
    assert [file.path for file in landing.list_files(PCA)] == [
        f"pca/{DAY}/c.parquet",
        f"pca/{DAY}/d.parquet",
    ]


def test_files_that_arrive_late_are_merged_by_the_next_run(tmp_path: Path) -> None:
    """A day can be compacted more than once."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b")
    compact(landing, EVENTS, before=NEXT_DAY)
    land(landing, "c", "d")
    before = view(landing)
    assert compact(landing, EVENTS, before=NEXT_DAY) == 2
    assert view(landing) == before
    assert len(stored(tmp_path)) == 2


def test_a_run_that_was_killed_before_it_removed_anything_is_finished_by_the_next(tmp_path: Path) -> None:
    """Small files that exist together with their merged file are not read twice."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b", "c")
    before = view(landing)
    contents = {path: path.read_bytes() for path in (tmp_path / DAY).iterdir()}
    compact(landing, EVENTS, before=NEXT_DAY)
    for path, content in list(contents.items())[:2]:
        path.write_bytes(content)
    assert view(landing) == before
    assert compact(landing, EVENTS, before=NEXT_DAY) == 2
    assert view(landing) == before
    assert len(stored(tmp_path)) == 1


def test_a_file_listed_before_it_was_merged_can_still_be_read(tmp_path: Path) -> None:
    """A reader with an old list finds the rows in their new place."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b")
    before = view(landing)
    compact(Landing(str(tmp_path)), EVENTS, before=NEXT_DAY)
    assert [(file, landing.read(file, EVENT_SCHEMA)) for file, _ in before] == before
    with pytest.raises(FileNotFoundError):
        landing.read(LandedFile(f"{DAY}/never.parquet", 1), EVENT_SCHEMA)


def test_a_file_that_differs_from_what_was_merged_is_never_removed(tmp_path: Path) -> None:
    """If the same name has different rows, a person must decide."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b")
    compact(landing, EVENTS, before=NEXT_DAY)
    land(landing, "b")
    with pytest.raises(pa.ArrowInvalid, match="other rows"):
        compact(landing, EVENTS, before=NEXT_DAY)
    assert "b.parquet" in stored(tmp_path)


def test_rows_in_many_row_groups_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are right for small row groups and for parts read in another order."""
    monkeypatch.setattr("connector.landing.compaction._ROW_GROUP_BYTES", 1)
    landing = Landing(str(tmp_path))
    land(landing, *"abcdef")
    before = view(landing)
    compact(landing, EVENTS, before=NEXT_DAY)
    assert view(landing) == before
    assert [landing.read(file, EVENT_SCHEMA) for file, _ in reversed(before)] == [
        t for _, t in reversed(before)
    ]


COMPACT = """
import sys
import threading
from datetime import date
from connector.landing import compaction, files, merged
from connector.landing.zones import EVENTS
from support.death import die_at
die_at(int(sys.argv[2]), 0, {module.__file__ for module in (compaction, files, merged)})
threading.settrace(sys.gettrace())
compaction.compact(files.Landing(sys.argv[1]), EVENTS, before=date(2025, 11, 10))
"""


def test_threads_that_read_parts_of_one_file_at_once_get_the_right_rows(tmp_path: Path) -> None:
    """A load reads several files at a time, and many of them may be in the same merged file."""
    landing = Landing(str(tmp_path))
    names = [f"{number:03}" for number in range(60)]
    for start in (0, 30):
        land(landing, *names[start : start + 30])
        compact(landing, EVENTS, before=NEXT_DAY)
    files = landing.list_files(EVENTS)
    with ThreadPoolExecutor(8) as readers:
        for _ in range(5):
            tables = list(readers.map(lambda file: landing.read(file, EVENT_SCHEMA), files))
            assert [table["body"][0].as_py() for table in tables] == [f"{n} 0".encode() for n in names]


@pytest.mark.parametrize("batches", [1, 10])
def test_kills_and_readers_in_the_middle_change_nothing(tmp_path: Path, batches: int) -> None:
    """A compaction killed again and again, read all the while: every look shows every row once.

    With many batches, merged files are merged again.
    """
    landing, looks, ends, is_over = Landing(str(tmp_path)), [], [], threading.Event()
    names = [f"file-{number:03d}" for number in range(60)]
    for number in range(batches):
        compact(landing, EVENTS, before=NEXT_DAY)
        land(landing, *names[number::batches])
    expected = sorted(row["body"] for row in landed_rows(landing))

    def look() -> None:
        reader = Landing(str(tmp_path))
        while not is_over.is_set():
            looks.append(sorted(row["body"] for row in landed_rows(reader)))

    watcher = threading.Thread(target=look)
    watcher.start()
    paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    # While the merged file is written, just after it appeared, while others are removed, and not at all.
    for step in (2_500, 4_700, 2_500, 1_000_000):
        command = [sys.executable, "-c", COMPACT, str(tmp_path), str(step)]
        ends.append(subprocess.run(command, env=environment, timeout=HANG_S, check=False).returncode)
        looks.append(sorted(row["body"] for row in landed_rows(landing)))
    is_over.set()
    watcher.join()
    assert all(seen == expected for seen in looks)
    assert ends == [*[-signal.SIGKILL] * 3, 0]
    assert len([name for name in stored(tmp_path) if not name.startswith(".")]) == 1


def test_the_merged_files_of_a_day_become_one_once_there_are_many(tmp_path: Path) -> None:
    """A day whose files were merged while it ran would else keep dozens of merged files for ever."""
    landing = Landing(str(tmp_path))
    names = [f"{number:02}" for number in range(20)]
    for number in range(0, 20, 2):
        land(landing, *names[number : number + 2])
        before = view(landing)
        compact(landing, EVENTS, before=NEXT_DAY)
        assert view(landing) == view(Landing(str(tmp_path))) == before
    assert len(stored(tmp_path)) == 1


def test_a_day_that_runs_is_merged_once_it_is_crowded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no day holds more small files than a look can list quickly, in any zone."""
    monkeypatch.setattr("connector.landing.compaction.MAX_SMALL_FILES", 3)
    landing = Landing(str(tmp_path))
    land(landing, "a", "b", "c")
    assert compact_crowded(landing) == 0
    land(landing, "d")
    before = view(landing)
    assert compact_crowded(landing) == 4
    assert view(landing) == before
    assert len(stored(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("broken.parquet", b"no Parquet"), ("merged-0123456789abcdef.parquet", b"no Parquet")],
)
def test_a_file_that_can_not_be_read_is_left_and_the_others_are_merged(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """It can be repaired later, and is named when it is read."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b", "c")
    (tmp_path / DAY / name).write_bytes(content)
    assert compact(landing, EVENTS, before=NEXT_DAY) == 3
    assert (tmp_path / DAY / name).read_bytes() == content
    assert f"{DAY}/{name}" in [file.path for file in landing.list_files(EVENTS)]
    assert len(stored(tmp_path)) == 2


@pytest.mark.parametrize("copy", ["a copy", "a (1)", "a.sync-conflict-20260101", "copy", "a-1b"])
def test_files_of_others_are_neither_merged_nor_removed(tmp_path: Path, copy: str) -> None:
    """A copy is of whoever made it, whatever its rows say."""
    landing = Landing(str(tmp_path))
    land(landing, "a", "b", "c")
    copied = tmp_path / DAY / f"{copy}.parquet"
    copied.write_bytes((tmp_path / DAY / "a.parquet").read_bytes())
    content = copied.read_bytes()
    assert compact(landing, EVENTS, before=NEXT_DAY) == 3
    assert copied.read_bytes() == content
