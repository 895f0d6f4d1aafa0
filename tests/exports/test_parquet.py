"""Exports to Parquet: days are files that are replaced whole, and nothing else is touched."""

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from support.data_folder import DataFolder, bodies_of
from support.disk import mount, mounted
from support.lake import find_unequal, land_call, survive_kills, write_mart, written
from support.object_store import serving_bucket
from support.oracle import ENDED, STARTED

from connector.simulator.world import World
from connector.system.lock import hold_lock
from pipelines.exports.export import export, find_standing
from pipelines.exports.target import TargetError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """An empty data folder, with a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """The folder of the lake, which is not there yet."""
    return tmp_path / "lake"


def rows(lake: Path, table: str, columns: str = "*") -> list[tuple[object, ...]]:
    """Read a table as people do: all its files, with the day from the name of the folder."""
    files = f"read_parquet('{lake}/{table}/**/*.parquet', hive_partitioning = true)"
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(f"select {columns} from {files} order by all").fetchall()  # noqa: S608


def files(lake: Path, table: str) -> dict[str, int]:
    """Return the files of a table with a number that changes when one is replaced."""
    folder = lake / table
    return {
        path.relative_to(folder).parent.name: path.stat().st_ino
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_copy_is_the_published_tables(folder: DataFolder, lake: Path) -> None:
    """Simulated calls with analyses, over several publishes; a full refresh writes nothing."""
    bodies = bodies_of(World.build(calls=12))
    for start in range(0, len(bodies), len(bodies) // 3 + 1):
        folder.land([*bodies[start : start + len(bodies) // 3 + 1], b"no event"])
        folder.sync()
        export(folder, f"parquet:{lake}")
        assert find_unequal(folder, f"parquet:{lake}") == []
    calls, events = "call_id, day, status, duration_s", "trace_id, body"
    assert rows(lake, "calls", calls) == folder.rows(f"select {calls} from calls order by all")  # noqa: S608
    assert rows(lake, "events", events) == folder.rows(f"select {events} from events order by all")  # noqa: S608
    folder.sync(is_full_refresh=True)
    assert set(written(export(folder, f"parquet:{lake}")).values()) <= {(0, 0)}
    assert export(folder, f"parquet:{lake}").tables == {}
    assert find_standing(folder, f"parquet:{lake}").publishes_behind == 0


def test_only_changed_days_are_written_again(folder: DataFolder, lake: Path) -> None:
    """A call that moves leaves its old day, and a day without rows is gone."""
    for number in range(3):
        land_call(folder, number, day=number)
    folder.sync()
    export(folder, f"parquet:{lake}")
    before = files(lake, "calls")
    assert sorted(before)[:3] == ["day=2025-11-08", "day=2025-11-09", "day=2025-11-10"]
    land_call(folder, 2, day=1)
    folder.sync()
    assert written(export(folder, f"parquet:{lake}"))["calls"] == (1, 0)
    after = files(lake, "calls")
    assert set(before) - set(after) == {"day=2025-11-10"}
    assert {name for name in after if before[name] != after[name]} == {"day=2025-11-09"}
    assert rows(lake, "calls", "call_id, day::varchar") == [
        ("c0", "2025-11-08"),
        ("c1", "2025-11-09"),
        ("c2", "2025-11-09"),
    ]
    assert find_unequal(folder, f"parquet:{lake}") == []


def test_rows_without_a_day_are_copied_too(folder: DataFolder, lake: Path) -> None:
    """They come and go, though the log of changes names days only."""
    write_mart(
        folder,
        "odd",
        "-- grain: call_id\n-- keys: call_id\nselect call_id, if(status = 'in_progress', null, day) as day"
        " from calls",
    )
    for names in ([STARTED], [ENDED]):
        land_call(folder, 1, *names)
        folder.sync()
        export(folder, f"parquet:{lake}")
        assert rows(lake, "odd", "call_id, day") == folder.rows("select call_id, day from odd")
        assert find_unequal(folder, f"parquet:{lake}") == []


def test_every_type_arrives_as_one_that_all_readers_know(folder: DataFolder, lake: Path) -> None:
    """What Parquet has no type for is text."""
    write_mart(
        folder,
        "odd",
        """
        select 'a' || chr(0) as nul, '{"a": 1}'::json as parsed, map {'k': 1.5::double} as mapped,
            ['x', null] as listed, {'a': [1]} as nested, 'x'::blob as bytes,
            sum(1) as huge, 1.25::decimal(9, 3) as exact, 18446744073709551615::ubigint as wide,
            'cab5d4a1-0000-4000-8000-000000000001'::uuid as id, time '10:00:00' as clock,
            interval 1 day as span, timestamp '2025-01-02 03:04:05.678901' as naive, 1::utinyint as tiny,
            'nan'::double as nan, 7 as "Ünï ""q"", =!", ['{}'::json] as parsed_list, 'a'::enum('a') as chosen
        """,
    )
    folder.sync()
    export(folder, f"parquet:{lake}")
    (found,) = pq.read_table(lake / "odd").to_pylist()
    nan = found.pop("nan")
    assert nan != nan
    assert found == {
        "nul": "a\0",
        "parsed": '{"a": 1}',
        "mapped": [("k", 1.5)],
        "listed": ["x", None],
        "nested": '{"a":[1]}',
        "bytes": b"x",
        "huge": Decimal(1),
        "exact": Decimal("1.250"),
        "wide": Decimal(18446744073709551615),
        "id": "cab5d4a1-0000-4000-8000-000000000001",
        "clock": "10:00:00",
        "span": "1 day",
        "naive": datetime.datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC),
        "tiny": 1,
        'Ünï "q", =!': 7,
        "parsed_list": "[{}]",
        "chosen": "a",
    }
    assert find_unequal(folder, f"parquet:{lake}") == []


def test_columns_are_added_and_never_dropped(folder: DataFolder, lake: Path) -> None:
    """Every file has the same columns afterwards; one whose SQL is gone is null."""
    select = "-- grain: call_id\nselect call_id, day, {} from calls"
    for number in range(2):
        land_call(folder, number, day=number)
    for columns in ("1 as one", "'new' as added", "'x' as one, 2 as added"):
        write_mart(folder, "mine", select.format(columns))
        folder.sync()
        export(folder, f"parquet:{lake}")
        assert find_unequal(folder, f"parquet:{lake}") == []
        if columns == "'new' as added":
            assert rows(lake, "mine", "call_id, one, added") == [("c0", None, "new"), ("c1", None, "new")]
    assert rows(lake, "mine", "call_id, one, added") == [("c0", "x", 2), ("c1", "x", 2)]
    write_mart(folder, "mine", select.format("3 as ONE"))  # for readers it is the same column
    folder.sync()
    export(folder, f"parquet:{lake}")
    assert find_unequal(folder, f"parquet:{lake}") == []
    (names,) = {tuple(pq.read_schema(path).names) for path in (lake / "mine").rglob("*.parquet")}
    assert names == ("call_id", "ONE", "added")


def test_what_was_changed_by_hand_is_named_and_put_right(folder: DataFolder, lake: Path) -> None:
    """Rows that differ, are missing or surplus, and files that are broken, in each case no other."""
    for number in range(4):
        land_call(folder, number, day=number)
    folder.sync()
    export(folder, f"parquet:{lake}")
    first, second, third, fourth = (
        lake / "calls" / f"day=2025-11-{day:02}" / "calls.parquet" for day in (8, 9, 10, 11)
    )
    pq.write_table(pq.read_table(first, partitioning=None).drop_columns("status"), first)
    second.unlink()
    third.write_bytes(b"PAR1 no Parquet")
    there = pq.read_table(fourth, partitioning=None)
    pq.write_table(there.take([0, 0]), fourth)
    (found,) = find_unequal(folder, f"parquet:{lake}")
    assert (found.differing, found.missing, found.surplus) == (1, 2, 1)
    assert found.keys == (("c0",), ("c1",), ("c2",), ("c3",))
    before = files(lake, "agent_daily")
    state = lake / "_verbex_sync.json"
    changed = json.loads(state.read_text())
    for entry in changed["tables"].values():
        entry["publish"] = None
    state.write_text(json.dumps(changed))
    assert written(export(folder, f"parquet:{lake}"))["calls"] == (3, 1)
    assert find_unequal(folder, f"parquet:{lake}") == []
    assert files(lake, "agent_daily") == before


def test_what_is_not_ours_is_refused_and_not_touched(folder: DataFolder, lake: Path) -> None:
    """A table's folder that was there, or a state of another kind. Other folders beside ours stay."""
    land_call(folder, 1)
    folder.sync()
    (lake / "calls").mkdir(parents=True)
    theirs = lake / "calls" / "theirs.parquet"
    theirs.write_text("theirs")
    with pytest.raises(TargetError, match="has a calls that verbex-sync did not make"):
        export(folder, f"parquet:{lake}")
    assert [path.name for path in (lake / "calls").iterdir()] == ["theirs.parquet"]
    assert theirs.read_text() == "theirs"
    (lake / "calls").rename(lake / "other")
    export(folder, f"parquet:{lake}")
    assert find_unequal(folder, f"parquet:{lake}") == []
    for text in ('{"kept_by": "someone"}', "no JSON"):
        (lake / "_verbex_sync.json").write_text(text)
        with pytest.raises(TargetError, match="can't read"):
            export(folder, f"parquet:{lake}")
        assert (lake / "_verbex_sync.json").read_text() == text


def test_one_exporter_at_a_time(folder: DataFolder, lake: Path) -> None:
    """The second says what it waits for."""
    land_call(folder, 1)
    folder.sync()
    lake.mkdir()
    with (
        hold_lock(lake / ".verbex_sync.lock"),
        pytest.raises(TargetError, match=r"Another process \(\d+\) exports to parquet:"),
    ):
        export(folder, f"parquet:{lake}")
    assert sorted(path.name for path in lake.iterdir()) == [".verbex_sync.lock"]


def test_a_full_disk_leaves_each_day_whole(folder: DataFolder, tmp_path: Path) -> None:
    """And the export after it was freed does the rest."""
    land_call(folder, 1)
    folder.sync()
    with mounted(tmp_path / "disk", "size=1m,mode=777") as disk:
        export(folder, f"parquet:{disk}")
        before = rows(disk, "events", "trace_id")
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 300_000)
        land_call(folder, 2, note=" ".join(str(hash(str(number))) for number in range(80_000)))
        folder.sync()
        with pytest.raises(TargetError, match="No space left on device"):
            export(folder, f"parquet:{disk}")
        assert rows(disk, "events", "trace_id") == before
        assert [path for path in disk.iterdir() if path.suffix == ".tmp"] == []
        mount(disk, "remount,size=20m")
        export(folder, f"parquet:{disk}")
        assert find_unequal(folder, f"parquet:{disk}") == []


def test_parts_of_a_publish_that_is_lost_are_written_again(folder: DataFolder, lake: Path) -> None:
    """An export was killed, and then the warehouse was restored from a backup."""
    for number in range(2):
        land_call(folder, number, day=number)
    folder.sync()
    export(folder, f"parquet:{lake}")
    state = lake / "_verbex_sync.json"
    entry = json.loads(state.read_text())
    entry["tables"]["calls"]["unsettled"] = ["day=2025-11-08"]
    state.write_text(json.dumps(entry))
    newer = lake / "calls" / "day=2025-11-08" / "calls.parquet"
    pq.write_table(pq.read_table(newer, partitioning=None).slice(0, 0), newer)
    land_call(folder, 3, day=2)
    folder.sync()
    export(folder, f"parquet:{lake}")
    assert find_unequal(folder, f"parquet:{lake}") == []


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_exports_leave_whole_days_and_the_next_goes_on(
    folder: DataFolder, lake: Path, kills: int
) -> None:
    """By SIGKILL at a line of ours or a moment after it. Every file that readers find can be read."""
    for _ in survive_kills(folder, f"parquet:{lake}", kills=kills, seed=kills):
        for path in lake.rglob("*.parquet"):
            pq.read_table(path, partitioning=None)
    assert find_unequal(folder, f"parquet:{lake}") == []
    assert list(lake.glob(".*.tmp")) == []


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty bucket."""
    with serving_bucket("verbex-lake", tmp_path / "store.log"):
        yield "s3://verbex-lake"


def test_a_bucket_is_written_as_a_folder_is(folder: DataFolder, bucket: str) -> None:
    """With the same files; and what is not ours is refused there too."""
    url = f"parquet:{bucket}/a/lake"
    for number in range(2):
        land_call(folder, number, day=number)
        folder.sync()
        export(folder, url)
        assert find_unequal(folder, url) == []
    land_call(folder, 1, day=0)
    folder.sync()
    export(folder, url)
    assert find_unequal(folder, url) == []
    calls = pq.read_table(f"{bucket}/a/lake/calls", columns=["call_id", "day"]).to_pylist()
    assert sorted(row["call_id"] for row in calls) == ["c0", "c1"]
    store, root = fs.FileSystem.from_uri(bucket)
    with store.open_output_stream(f"{root}/b/calls/theirs") as theirs:
        theirs.write(b"theirs")
    with pytest.raises(TargetError, match="did not make"):
        export(folder, f"parquet:{bucket}/b")
    there = store.get_file_info(fs.FileSelector(f"{root}/b/calls", recursive=True))
    assert [info.base_name for info in there] == ["theirs"]
