"""The warehouse files: readers never wait, never see a partial sync, and never stop the writer."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from support.command import Run
from support.data_folder import NOON, NOON_US, DataFolder, bodies_of, body
from support.disk import mount, mounted
from support.oracle import ENDED, STARTED

from connector.simulator.world import World
from pipelines.models.load import load_sql
from pipelines.models.sql_file import ModelError, sql_folder
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.data_folder import OutdatedTablesError
from pipelines.warehouse.database import WarehousePathError, WarehouseUnusableError
from pipelines.warehouse.files import (
    NothingPublishedError,
    WarehouseBusyError,
)
from pipelines.warehouse.session import open_session

OLDEST_READER = "1.1.3"

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print(connection.execute("select count(*) from calls").fetchone()[0], flush=True)
sys.stdin.read()
print(connection.execute("select count(*) from calls").fetchone()[0], flush=True)
"""


@contextmanager
def held_open(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Let another process open the file for reading and read from it, during the block."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def land_call(folder: DataFolder, number: int) -> None:
    folder.land([body(f"trace-{number}", STARTED, f"call-{number}", number)], received_at_us=NOON_US + number)


def call_count(folder: DataFolder) -> int:
    return int(folder.rows("select count(*) from calls")[0][0])


def test_reading_before_the_first_sync_says_what_to_do(tmp_path: Path) -> None:
    """If nothing is published yet, the error names the next step."""
    with pytest.raises(NothingPublishedError, match="verbex-sync sync"):
        DataFolder(tmp_path).warehouse.read()


def test_syncs_continue_while_another_process_has_the_published_file_open(tmp_path: Path) -> None:
    """A BI tool that never closes the file costs only disk space. It sees old rows, new readers new ones."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    folder.sync()
    with held_open(folder.warehouse.published) as reader:
        for number in range(1, 5):
            land_call(folder, number)
            folder.sync()
            assert call_count(folder) == number + 1
        out, _ = reader.communicate()
        assert out == "1\n"


def test_syncs_continue_while_a_part_of_the_same_process_reads(tmp_path: Path) -> None:
    """A notebook or a Dagster asset of one's own may hold the tables open and sync them too."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    folder.sync()
    readers = []
    for number in range(1, 7):
        readers.append(folder.read())
        land_call(folder, number)
        folder.sync()
        assert call_count(folder) == number + 1
    counts = [reader.execute("select count(*) from calls").fetchall() for reader in readers]
    assert counts == [[(number,)] for number in range(1, 7)]
    assert len(folder.warehouse_files()) <= 4
    assert all(table.is_equal for table in compare_with_rebuild(folder))


def test_readers_that_have_every_file_open_cost_one_more_file_and_then_no_more(tmp_path: Path) -> None:
    """Files that readers have open are not touched, and without readers there are at most three."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    folder.sync()
    for number in range(1, 6):
        with held_open(folder.warehouse.published):
            land_call(folder, number)
            folder.sync()
    land_call(folder, 6)
    folder.sync()
    assert call_count(folder) == 7
    assert len(folder.warehouse_files()) <= 3


def test_files_take_turns_and_hold_the_same(tmp_path: Path) -> None:
    """Each file has its own ledger and loads what it has missed, so both have the same tables in the end."""
    folder = DataFolder(tmp_path)
    bodies = bodies_of(World.build(calls=20))
    seen = {}
    for start in range(0, len(bodies), 20):
        folder.land(bodies[start : start + 20], received_at_us=NOON_US + start * 1_000_000)
        folder.sync()
    for _ in range(2):
        folder.sync()
        seen[folder.warehouse.published.resolve()] = folder.tables()
    assert len(seen) == 2
    first, second = seen.values()
    assert first == second


def test_a_sync_that_was_not_published_is_not_seen_and_not_lost(tmp_path: Path) -> None:
    """If a run ends before the publish, readers see the old rows. The next run shows the new ones."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    folder.sync()
    land_call(folder, 1)
    with open_session(folder) as session:
        for model in folder.models:
            session.update(model)
    assert call_count(folder) == 1
    folder.sync()
    assert call_count(folder) == 2


def test_a_publish_never_goes_back_in_time(tmp_path: Path) -> None:
    """Before it is published, the next file loads what the published one has."""
    folder = DataFolder(tmp_path)
    for number in range(3):
        land_call(folder, number)
        folder.sync()
    with open_session(folder) as session:
        session.publish(NOON)
    assert call_count(folder) == 3


@pytest.mark.parametrize("wanted", [{"events"}, {"calls"}, {"pca"}, {"events", "calls"}, {"calls_enriched"}])
def test_a_publish_of_some_tables_never_takes_another_back_in_time(tmp_path: Path, wanted: set[str]) -> None:
    """The next file lacks what the last sync loaded, and the run has only some tables."""
    folder = DataFolder(tmp_path)
    bodies = bodies_of(World.build(calls=9))
    for part in (bodies[:6], bodies[6:12], bodies[12:]):
        folder.land(part)
        folder.sync()
    before = folder.tables()
    with open_session(folder) as session:
        for model in session.models:
            if model.table in wanted:
                session.update(model)
        session.publish(NOON)
    assert folder.tables() == before


def test_two_writers_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    """The second one gets the id of the process that writes, and nothing is damaged."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    with (
        folder.warehouse.write(),
        pytest.raises(WarehouseBusyError, match=f"Process {os.getpid()} "),
        folder.warehouse.write(wait_s=0.1),
    ):
        pass
    folder.sync()
    assert call_count(folder) == 1


def test_a_writer_that_was_killed_leaves_the_published_tables_as_they_were(tmp_path: Path) -> None:
    """After SIGKILL with rows computed and not published, readers see the old rows until the next sync."""
    folder = DataFolder(tmp_path)
    land_call(folder, 0)
    folder.sync()
    folder.land([body("trace-end", ENDED, "call-0", 60)], received_at_us=NOON_US + 60_000_000)
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from support.data_folder import DataFolder; from pipelines.warehouse.session import open_session\n"
        "folder = DataFolder(Path(sys.argv[1]))\n"
        "with open_session(folder) as session:\n"
        "    [session.update(model) for model in folder.models]\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parents[1])]
    assert subprocess.run(command, check=False).returncode == -9
    assert folder.rows("select status from calls") == [("in_progress",)]
    folder.sync()
    assert folder.rows("select status from calls") == [("completed",)]


def test_the_published_file_cannot_be_opened_for_writing_by_mistake(tmp_path: Path) -> None:
    """Some tools open databases for writing by default, so the file has no write permission."""
    folder = DataFolder(tmp_path)
    folder.sync()
    assert folder.warehouse.published.stat().st_mode & 0o222 == 0


WRITE = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("delete from stored.calls")
connection.execute("create table stray as select 1")
print("written", flush=True)
if sys.argv[2] == "keeps it open":
    sys.stdin.read()
if sys.argv[2] == "is killed":
    os._exit(9)
"""


@pytest.mark.parametrize("tool", ["closes it", "is killed", "keeps it open"])
def test_a_tool_that_writes_the_published_file_stops_no_sync_and_spoils_nothing_for_long(
    tmp_path: Path, tool: str
) -> None:
    """Root can write it in spite of its mode. The next sync publishes another file, and this one goes."""
    folder = DataFolder(tmp_path)
    for number in range(2):
        land_call(folder, number)
        folder.sync()
    published = folder.warehouse.published.resolve()
    published.chmod(0o644)
    command = [sys.executable, "-c", WRITE, str(published), tool]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        if tool != "keeps it open":
            process.wait()
        for number in range(2, 5):
            land_call(folder, number)
            folder.sync()
            assert folder.rows("select count(*) from calls") == [(number + 1,)]
            assert folder.rows("select count(*) from duckdb_tables() where table_name = 'stray'") == [(0,)]


def test_tables_and_columns_carry_their_descriptions(tmp_path: Path) -> None:
    """So a BI tool shows the texts of the SQL headers."""
    folder = DataFolder(tmp_path)
    folder.sync()
    assert folder.rows(
        "select comment from duckdb_columns()"
        " where schema_name = 'main' and table_name = 'calls' and column_name = 'duration_s'"
    ) == [("from started_at to ended_at [s]",)]


@pytest.mark.xdist_group("oldest_duckdb")
def test_the_oldest_duckdb_that_bi_tools_bundle_reads_the_published_file(
    tmp_path: Path, oldest_duckdb: Path
) -> None:
    """DuckDB 1.1.3 opens the file and reads all of its columns. It can attach and use it, too."""
    folder = DataFolder(tmp_path)
    folder.land(bodies_of(World.build(calls=10)))
    folder.sync()
    script = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "tables = \"select table_name from information_schema.tables where table_schema = 'main'\"\n"
        "found = connection.execute(tables).fetchall()\n"
        "for (table,) in found: connection.execute(f'from {table}').fetchall()\n"
        "print(duckdb.__version__, connection.execute('select count(*) from calls_enriched').fetchone()[0])\n"
        "connection.close(); connection = duckdb.connect()\n"
        "connection.execute(f\"attach '{sys.argv[1]}' as verbex (read_only)\").execute('use verbex')\n"
        "print(connection.execute('select count(*) from calls_enriched').fetchone()[0])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(oldest_duckdb)}
    command = [sys.executable, "-c", script, str(folder.warehouse.published)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == f"{OLDEST_READER} 10\n10\n"
    assert duckdb.__version__ != OLDEST_READER


CATALOG = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
((catalog,),) = connection.execute("select current_database()").fetchall()
((count,),) = connection.execute('select count(*) from "warehouse"."main"."calls"').fetchall()
print(duckdb.__version__, catalog, count)
"""


@pytest.mark.xdist_group("oldest_duckdb")
@pytest.mark.parametrize("is_oldest", [True, False])
def test_what_a_bi_tool_saves_with_the_catalog_stays_right(
    tmp_path: Path, oldest_duckdb: Path, is_oldest: bool
) -> None:
    """Superset and others write the catalog into what they save. It has one name at every publish."""
    folder = DataFolder(tmp_path)
    environment = os.environ | ({"PYTHONPATH": str(oldest_duckdb)} if is_oldest else {})
    version = OLDEST_READER if is_oldest else duckdb.__version__
    for number in range(4):
        land_call(folder, number)
        folder.sync(is_full_refresh=number == 2)
        command = [sys.executable, "-c", CATALOG, str(folder.warehouse.published)]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.stdout == f"{version} warehouse {number + 1}\n", done.stderr


@pytest.mark.parametrize("is_published", [True, False])
def test_a_damaged_file_is_built_again(tmp_path: Path, is_published: bool) -> None:
    """If a crash or a full disk damages any of the files, the next syncs still publish what landed."""
    folder = DataFolder(tmp_path)
    for number in range(2):
        land_call(folder, number)
        folder.sync()
    published = folder.warehouse.published.resolve()
    (resting,) = (path for path in folder.warehouse_files() if path != published)
    damaged = published if is_published else resting
    damaged.chmod(0o644)
    os.truncate(damaged, damaged.stat().st_size // 2)
    if is_published:
        with pytest.raises(NothingPublishedError, match=r"is damaged .* Run `verbex-sync sync` to rebuild"):
            folder.rows("from calls")
    for number in (2, 3):
        land_call(folder, number)
        folder.sync()
        assert folder.rows("select count(*) from calls") == [(number + 1,)]


def test_tables_that_are_published_alone_agree_with_what_reads_them(tmp_path: Path) -> None:
    """Materialised in any order, with or without earlier tables, the published tables never disagree."""
    folder = DataFolder(tmp_path)
    for number, table in enumerate(["quarantine", "events", "calls"]):
        land_call(folder, number)
        with open_session(folder) as session:
            model = next(model for model in session.models if model.table == table)
            session.update(model)
            session.inspect(model, load_sql(folder.sql_dir).checks, NOON)
            session.publish(NOON)
    assert folder.rows("select count(*) from calls") == folder.rows("select count(*) from events") == [(2,)]


@pytest.mark.parametrize("name", ["o'brien", 'My "Project" #1: %41\t[1] *{z}~$HOME'])
def test_a_folder_may_have_an_odd_name(tmp_path: Path, name: str) -> None:
    """The home folder of a user called O'Brien has a quote."""
    folder = DataFolder(tmp_path / name)
    for _ in range(2):
        folder.sync()
    assert all(table.is_equal for table in compare_with_rebuild(folder))


@pytest.mark.parametrize("name", ["what?", "a\\b"])
def test_a_path_that_duckdb_misreads_is_refused_and_nothing_is_written_elsewhere(
    tmp_path: Path, name: str
) -> None:
    """DuckDB would write `what.wal?` or `a/b`, which may be the folder of others."""
    (tmp_path / name).mkdir()
    (tmp_path / "a" / "b" / "warehouse" / "1").mkdir(parents=True)
    folder = DataFolder(tmp_path / name)
    with pytest.raises(WarehousePathError, match="misreads the characters"):
        folder.sync()
    with pytest.raises(WarehousePathError, match="VERBEX_DATA_DIR"):
        folder.read()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("what", ["", "warehouse"], ids=["the data folder", "the folder of warehouse files"])
def test_a_folder_may_be_a_link_to_another_disk(tmp_path: Path, what: str) -> None:
    """So a full disk is relieved: the folder is moved, and a link is put in its place."""
    folder = DataFolder(tmp_path / "data")
    land_call(folder, 0)
    folder.sync()
    place = folder.path / what
    place.rename(tmp_path / "other disk")
    place.symlink_to(tmp_path / "other disk")
    for number in (1, 2, 3, 4):
        land_call(folder, number)
        folder.sync()
        assert call_count(folder) == number + 1
    folder.sync(is_full_refresh=True)
    assert call_count(folder) == 5
    assert all(table.is_equal for table in compare_with_rebuild(folder))


def test_a_disk_that_can_not_be_written_is_named_and_readers_read_on(tmp_path: Path) -> None:
    """Mounted read-only, as a system does by itself once a disk fails."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        folder = DataFolder(disk, landing_url=str(tmp_path / "landing"))
        land_call(folder, 0)
        folder.sync()
        land_call(folder, 1)
        mount(disk, "remount,ro")
        with pytest.raises(WarehouseUnusableError, match=r"can't be written \(.*Read-only file system"):
            folder.sync()
        assert call_count(folder) == 1
        mount(disk, "remount,rw")
        folder.sync()
        assert call_count(folder) == 2


@pytest.mark.parametrize("name", ["warehouse", "warehouse/writer.lock", "warehouse.link"])
def test_a_sync_says_in_one_line_what_it_can_not_write(run: Run, tmp_path: Path, name: str) -> None:
    """Something else stands in its place, when the sync begins or when it publishes."""
    place = tmp_path / "data" / name
    if name == "warehouse":
        place.parent.mkdir()
        place.touch()
    else:
        place.mkdir(parents=True)
    done = run("sync", VERBEX_ALLOW_UNSIGNED="true")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(place) in done.stderr
    assert "VERBEX_DATA_DIR" in done.stderr


def test_sql_that_fails_is_named_and_what_was_published_stays(tmp_path: Path) -> None:
    """The error for a customer's model that can't be run names the file and the cause."""
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    shutil.copytree(sql_folder(), folder.sql_dir)
    land_call(folder, 0)
    folder.sync()
    (folder.sql_dir / "marts" / "mine.sql").write_text("select no_such_column from calls")
    with pytest.raises(ModelError, match=r"sql/marts/mine.sql failed. .*no_such_column"):
        folder.sync()
    assert folder.rows("select count(*) from calls") == [(1,)]


def test_changed_sql_rebuilds_its_table_and_its_readers_by_itself(tmp_path: Path) -> None:
    """After a new column in a model, the next sync of any table migrates an existing warehouse."""
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    shutil.copytree(sql_folder(), folder.sql_dir)
    land_call(folder, 0)
    folder.sync()
    calls, daily = folder.sql_dir / "core" / "calls.sql", folder.sql_dir / "marts" / "agent_daily.sql"
    calls.write_text("-- Said in other words.\n" + calls.read_text())
    count = "    count(*) as calls,\n"
    text = daily.read_text().replace(count, f"{count}    true as is_new,\n")
    column = "--   completed bigint:"
    daily.write_text(text.replace(column, f"--   is_new boolean: added later\n{column}"))
    with open_session(folder) as session:
        session.update(next(model for model in folder.models if model.name == "quarantine"))
        session.publish(NOON)
    assert folder.rows("select is_new from agent_daily") == [(True,)]
    assert folder.rows("select count(*) from calls_enriched") == [(1,)]


def test_a_table_whose_sql_is_gone_is_gone(tmp_path: Path) -> None:
    """Deleting a model's file drops its table with the next sync, if no query of ours needs it."""
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    shutil.copytree(sql_folder(), folder.sql_dir)
    folder.sync()
    (folder.sql_dir / "core" / "pca_revisions.sql").unlink()
    folder.sync()
    assert folder.rows("select count(*) from duckdb_tables() where table_name = 'pca_revisions'") == [(0,)]


def test_tables_of_another_version_are_named_with_the_next_step(tmp_path: Path) -> None:
    """As after an upgrade, before its first sync. A question to them is no reason for a traceback."""
    folder = DataFolder(tmp_path)
    folder.sync()
    folder.warehouse.published.resolve().chmod(0o644)
    with duckdb.connect(str(folder.warehouse.published.resolve())) as connection:
        connection.execute("drop table agents")
    with pytest.raises(OutdatedTablesError, match=r"known_agents reads\. Run `verbex-sync sync` first"):
        folder.query("known_agents")
    folder.sync(is_full_refresh=True)
    assert folder.query("known_agents").rows == ()
