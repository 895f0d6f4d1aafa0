"""Exports to Delta Lake: one commit a table, read back by an engine that did not write it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from support.data_folder import DataFolder, bodies_of, body
from support.lake import find_unequal, land_call, survive_kills, write_mart, written
from support.object_store import serving_bucket
from support.oracle import ENDED, STARTED

from connector.simulator.world import World
from pipelines.exports import delta
from pipelines.exports.change import Change
from pipelines.exports.delta import DeltaTarget
from pipelines.exports.delta_marks import HALVES
from pipelines.exports.export import export, find_standing
from pipelines.exports.target import TargetError, Written


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """An empty data folder, with a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """The folder of the lake, which is not there yet."""
    return tmp_path / "lake"


@pytest.fixture(scope="session")
def other_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on PYTHONPATH that holds a DuckDB with the extension that reads Delta Lake."""
    folder = tmp_path_factory.mktemp("duckdb_with_delta")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    options = ["--no-compile", "--disable-pip-version-check"]
    packages = ["duckdb==1.5.5", "duckdb-extension-delta==1.5.5"]
    subprocess.run([*command, *options, *packages], check=True)
    return folder


def read(lake: Path, table: str) -> list[dict[str, Any]]:
    """Read a table, in the order of all its columns."""
    found = DeltaTable(lake / table).to_pyarrow_table().to_pylist()
    return sorted(found, key=repr)


def versions(lake: Path) -> dict[str, int]:
    """Return the number of the last commit of each table."""
    return {path.parent.name: DeltaTable(path.parent).version() for path in lake.glob("*/_delta_log")}


def test_the_copy_is_the_published_tables(folder: DataFolder, lake: Path) -> None:
    """Simulated calls over several publishes; one commit for each table that changed, and no other."""
    bodies = bodies_of(World.build(calls=12))
    for start in range(0, len(bodies), len(bodies) // 3 + 1):
        folder.land([*bodies[start : start + len(bodies) // 3 + 1], b"no event"])
        folder.sync()
        before = versions(lake)
        exported = export(folder, f"delta:{lake}")
        after = versions(lake)
        changed = {table for table, count in written(exported).items() if count != (0, 0)}
        assert {table for table in after if after[table] != before.get(table, 0)} <= changed
        assert all(after[table] <= before.get(table, -1) + 1 for table in after)
        assert find_unequal(folder, f"delta:{lake}") == []
        assert find_standing(folder, f"delta:{lake}").publishes_behind == 0
    assert set(exported.compared_whole) <= {"pca_views", "pipeline_status"}
    folder.sync(is_full_refresh=True)
    assert set(written(export(folder, f"delta:{lake}")).values()) <= {(0, 0)}
    assert versions(lake) == after
    assert export(folder, f"delta:{lake}").tables == {}


_READING = """
import json, pathlib, sys, duckdb, duckdb_extension_delta
(extension,) = pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension")
connection = duckdb.connect()
connection.load_extension(str(extension))
connection.execute("set timezone = 'UTC'")
rows = {
    table: [list(map(str, row)) for row in connection.execute(f"select {columns} from"
        f" delta_scan('{sys.argv[1]}/{table}') order by all").fetchall()]
    for table, columns in json.load(sys.stdin).items()
}
print(json.dumps(rows))
"""


@pytest.mark.slow
@pytest.mark.xdist_group("duckdb_with_delta")
def test_another_engine_reads_the_same_rows(folder: DataFolder, lake: Path, other_engine: Path) -> None:
    """Also after merges, days replaced, a column added and one gone; with maps, JSON and odd names."""
    write_mart(folder, "mine", "-- grain: call_id\nselect call_id, day, 1 as gone from calls")
    for number in range(3):
        land_call(folder, number, STARTED, ENDED, day=number)
    folder.sync()
    export(folder, f"delta:{lake}")
    odd = """-- grain: call_id
        select call_id, day, started_at::timestamp as naive, map {'名 a': 1.5::double} as mapped,
            '{"a": 1}'::json as parsed, 7 as "売上 ""x"", (¥)", ['x', null] as listed from calls"""
    write_mart(folder, "mine", odd)
    land_call(folder, 2, day=1)
    folder.sync()
    export(folder, f"delta:{lake}")
    columns = {
        "calls": "call_id, day, status, started_at, duration_s",
        "events": "trace_id, occurred_at, body",
        "mine": 'call_id, day, mapped, parsed, "売上 ""x"", (¥)", listed',
    }
    command = [sys.executable, "-c", _READING, str(lake)]
    environment = os.environ | {"PYTHONPATH": str(other_engine)}
    found = subprocess.run(
        command, input=json.dumps(columns), env=environment, text=True, capture_output=True, check=True
    )
    expected = {
        table: [
            list(map(str, row))
            for row in folder.rows(f"select {listed} from {table} order by all")  # noqa: S608
        ]
        for table, listed in columns.items()
    }
    assert json.loads(found.stdout) == expected
    assert len(expected["calls"]) == 3


def test_old_readers_can_read_it(folder: DataFolder, lake: Path) -> None:
    """Times without a zone, unsigned numbers or nested values would need a newer protocol or are unknown."""
    write_mart(
        folder,
        "odd",
        """select timestamp '2025-01-02 03:04:05' as naive, 1::ubigint as wide, {'a': 1} as nested, day
        from calls""",
    )
    land_call(folder, 1)
    folder.sync()
    export(folder, f"delta:{lake}")
    for path in lake.glob("*/_delta_log"):
        protocol = DeltaTable(path.parent).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert DeltaTable(lake / "calls").metadata().partition_columns == ["day"]
    assert find_unequal(folder, f"delta:{lake}") == []


def test_a_call_that_moves_leaves_its_old_day_in_the_same_commit(folder: DataFolder, lake: Path) -> None:
    """And other days keep their files. Rows without a day, which the log does not name, come and go too."""
    write_mart(
        folder,
        "odd",
        "-- grain: call_id\n-- keys: call_id\nselect call_id, if(status = 'in_progress', null, day) as day"
        " from calls",
    )
    for number in range(3):
        land_call(folder, number, day=number)
    folder.sync()
    export(folder, f"delta:{lake}")
    before = set(DeltaTable(lake / "calls").file_uris())
    land_call(folder, 2, STARTED, ENDED, day=1)
    folder.sync()
    assert written(export(folder, f"delta:{lake}"))["calls"] == (1, 0)
    calls = DeltaTable(lake / "calls")
    assert calls.version() == 1
    kept = before & set(calls.file_uris())
    assert [uri.split("day=")[1][:10] for uri in kept] == ["2025-11-08"]
    assert find_unequal(folder, f"delta:{lake}") == []


def test_rows_that_are_gone_are_deleted_from_tables_without_days(folder: DataFolder, lake: Path) -> None:
    """In the commit that inserts and updates others. Where all rows are new, they are only appended."""
    write_mart(
        folder,
        "running",
        '-- grain: call_id\n-- keys: call_id\nselect call_id, event_count, 1 as "Ünï ""q"".x"'
        " from calls where status = 'in_progress'",
    )
    for number in range(2):
        land_call(folder, number)
    folder.sync()
    export(folder, f"delta:{lake}")
    events = DeltaTable(lake / "events").file_uris()
    land_call(folder, 0, ENDED)
    land_call(folder, 1, "CallHandler.Other")
    land_call(folder, 2)
    folder.sync()
    assert written(export(folder, f"delta:{lake}"))["running"] == (2, 1)
    assert [row["call_id"] for row in read(lake, "running")] == ["c1", "c2"]
    assert versions(lake)["running"] == 1
    assert set(events) < set(DeltaTable(lake / "events").file_uris())
    assert find_unequal(folder, f"delta:{lake}") == []


def test_rows_that_changed_cost_only_the_files_that_hold_them(folder: DataFolder, lake: Path) -> None:
    """In tables without days. Keys are text of any kind, and as likely hostile."""
    odd = "it's \\ \"{0}\" -- \n \x00 名; ' or 1 = 1"
    for number in range(2):
        folder.land([body(f"{odd}{number}", STARTED, f"c{number}", number)])
        folder.sync()
        export(folder, f"delta:{lake}")
    first, _ = sorted(DeltaTable(lake / "events").file_uris(), key=lambda uri: Path(uri).stat().st_mtime_ns)
    folder.land([body(f"{odd}{number}", STARTED, f"c{number}", number) for number in (1, 2)])
    folder.sync()
    assert written(export(folder, f"delta:{lake}"))["events"] == (2, 0)
    events = DeltaTable(lake / "events")
    assert events.version() == 2
    assert first in events.file_uris()
    assert len(read(lake, "events")) == 3
    assert find_unequal(folder, f"delta:{lake}") == []


def test_columns_are_added_and_never_dropped(folder: DataFolder, lake: Path) -> None:
    """One whose SQL is gone is null from then on."""
    select = "-- grain: call_id\nselect call_id, day, {} from calls"
    for number in range(2):
        land_call(folder, number, day=number)
    for columns in ("1 as one", "null::varchar as added", "'x' as one, 2 as added"):
        write_mart(folder, "mine", select.format(columns))
        folder.sync()
        export(folder, f"delta:{lake}")
        assert find_unequal(folder, f"delta:{lake}") == []
        assert set(read(lake, "mine")[0]) >= {"one"}
    assert [(row["one"], row["added"]) for row in read(lake, "mine")] == [("x", 2), ("x", 2)]
    for columns in ("3 as ONE", "day::varchar as day"):  # for readers the same column, and another partition
        write_mart(folder, "mine", select.replace("day, ", "").format(columns))
        folder.sync()
        export(folder, f"delta:{lake}")
        assert find_unequal(folder, f"delta:{lake}") == []
    assert set(read(lake, "mine")[0]) == {"call_id", "day", "ONE", "added"}
    Path(DeltaTable(lake / "mine").file_uris()[0]).unlink()
    export(folder, f"delta:{lake}", is_full_refresh=True)
    assert find_unequal(folder, f"delta:{lake}") == []


def test_a_copy_that_was_changed_or_restored_is_put_right(folder: DataFolder, lake: Path) -> None:
    """It says itself where it stands, so it needs no file of ours beside it."""
    for number in range(3):
        land_call(folder, number, day=number)
        folder.sync()
        export(folder, f"delta:{lake}")
    DeltaTable(lake / "calls").restore(1)
    (lake / "_verbex_sync.json").unlink()
    assert [row["call_id"] for row in read(lake, "calls")] == ["c0", "c1"]
    (found,) = (each for each in find_unequal(folder, f"delta:{lake}") if each.table == "calls")
    assert (found.missing, found.keys) == (1, (("c2",),))
    assert "calls" in export(folder, f"delta:{lake}").compared_whole
    DeltaTable(lake / "calls").optimize.compact()
    assert export(folder, f"delta:{lake}").tables == {}
    assert find_unequal(folder, f"delta:{lake}") == []
    saved = lake.with_name("saved")
    copytree(lake, saved)
    land_call(folder, 3)
    folder.sync()
    export(folder, f"delta:{lake}")
    rmtree(lake)
    saved.rename(lake)
    caught_up = export(folder, f"delta:{lake}")
    assert set(caught_up.compared_whole) <= {"pca_views", "pipeline_status"}
    assert written(caught_up)["calls"] == (1, 0)
    assert find_unequal(folder, f"delta:{lake}") == []


def test_what_is_not_ours_is_refused_and_not_touched(folder: DataFolder, lake: Path) -> None:
    """Somebody's Delta table of that name, and a folder with other files."""
    land_call(folder, 1)
    folder.sync()
    write_deltalake(lake / "calls", pa.table({"theirs": [1]}))
    (lake / "agents").mkdir()
    (lake / "agents" / "theirs.csv").write_text("theirs")
    for table in ("calls", "agents"):
        with pytest.raises(TargetError, match=f"has a {table} that verbex-sync did not make"):
            export(folder, f"delta:{lake}", tables=[table])
    assert read(lake, "calls") == [{"theirs": 1}]
    assert [path.name for path in (lake / "agents").iterdir()] == ["theirs.csv"]


@pytest.mark.parametrize("table", ["calls", "events"])
def test_another_exporter_can_not_commit_in_between(
    folder: DataFolder, lake: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Also from another machine, where no lock holds: the second commit fails and changes nothing."""
    land_call(folder, 1)
    folder.sync()
    export(folder, f"delta:{lake}")
    land_call(folder, 2)
    folder.sync()
    write = DeltaTarget.write

    def be_late(target: DeltaTarget, change: Change, publish_id: UUID) -> Written:
        if change.table.name == table:
            other = DeltaTable(lake / table)
            rows = other.to_pyarrow_table().slice(0, 0)
            transactions = [Transaction(name, 1) for name in HALVES]
            properties = CommitProperties(app_transactions=transactions)
            write_deltalake(other, rows, mode="append", commit_properties=properties)
        return write(target, change, publish_id)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTarget, "write", be_late)
        with pytest.raises(TargetError, match="Concurrent transaction"):
            export(folder, f"delta:{lake}")
    assert len(read(lake, table)) == 1
    export(folder, f"delta:{lake}")
    assert find_unequal(folder, f"delta:{lake}") == []


def test_old_files_are_cleaned_up(folder: DataFolder, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files of tables without days become one, and what no commit of the last days needs is gone."""
    monkeypatch.setattr(delta, "_COMMITS_BETWEEN_CLEANINGS", 3)
    land_call(folder, 0)
    folder.sync()
    export(folder, f"delta:{lake}")
    (left,) = (lake / "events").glob("part-*.parquet")
    orphan = left.with_name("part-of-a-commit-that-was-killed.parquet")
    orphan.write_bytes(left.read_bytes())
    os.utime(orphan, (0, 0))
    for number in range(1, 4):
        land_call(folder, number)
        folder.sync()
        export(folder, f"delta:{lake}")
    assert not orphan.exists()
    assert len(DeltaTable(lake / "events").file_uris()) == 1
    assert len(list((lake / "events").glob("part-*.parquet"))) == 5
    assert find_unequal(folder, f"delta:{lake}") == []
    assert export(folder, f"delta:{lake}").tables == {}


@pytest.mark.parametrize("kills", [pytest.param(50, marks=pytest.mark.slow)])
def test_killed_exports_leave_whole_tables_and_the_next_goes_on(
    folder: DataFolder, lake: Path, kills: int
) -> None:
    """By SIGKILL at a line of ours or a moment after it."""
    for _ in survive_kills(folder, f"delta:{lake}", kills=kills, seed=kills):
        for table in versions(lake):
            read(lake, table)
    assert find_unequal(folder, f"delta:{lake}") == []


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty bucket."""
    with serving_bucket("verbex-lake", tmp_path / "store.log"):
        yield "s3://verbex-lake"


def test_a_bucket_is_written_as_a_folder_is(folder: DataFolder, bucket: str) -> None:
    """With commits that replace no other."""
    url = f"delta:{bucket}/a/lake"
    for number in range(2):
        land_call(folder, number, day=number)
        folder.sync()
        export(folder, url)
        assert find_unequal(folder, url) == []
    calls = DeltaTable(f"{bucket}/a/lake/calls", storage_options={"allow_http": "true"})
    assert calls.version() == 1
    assert sorted(row["call_id"] for row in calls.to_pyarrow_table().to_pylist()) == ["c0", "c1"]
