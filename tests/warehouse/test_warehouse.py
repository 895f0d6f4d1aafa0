"""The warehouse files: readers never wait, never see half a sync, and never stop the writer."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from support.data_folder import NOON, NOON_US, DataFolder, bodies_of, body
from support.oracle import ENDED, STARTED

from connector.simulator.world import World
from pipelines.models.load import load_checks
from pipelines.models.sql_file import ModelError, sql_folder
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.files import NothingPublishedError, WarehouseBusyError
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
    """Another process has the file open for reading, and has read from it."""
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
    """Nothing is published yet: the error names the next step."""
    with pytest.raises(NothingPublishedError, match="verbex-sync sync"):
        DataFolder(tmp_path).warehouse.read()


def test_syncs_go_on_while_another_process_holds_the_published_file(tmp_path: Path) -> None:
    """A BI tool that never lets go costs nothing but disk: it keeps its rows, new readers see the new."""
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


def test_readers_that_hold_every_file_cost_one_more_file_and_then_no_more(tmp_path: Path) -> None:
    """Files that readers hold are left alone, and at rest there are never more than three."""
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
    assert len(list((tmp_path / "warehouse").glob("*.duckdb"))) <= 3


def test_files_take_turns_and_hold_the_same(tmp_path: Path) -> None:
    """The file behind follows by its own ledger, so both hold the same tables in the end."""
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
    """A run that ends before the publish leaves readers with the old rows; the next one shows the new."""
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
    """The file whose turn it is takes in what the published one has, before anything is published."""
    folder = DataFolder(tmp_path)
    for number in range(3):
        land_call(folder, number)
        folder.sync()
    with open_session(folder) as session:
        session.publish(NOON)
    assert call_count(folder) == 3


@pytest.mark.parametrize("wanted", [{"events"}, {"calls"}, {"pca"}, {"events", "calls"}, {"calls_enriched"}])
def test_a_publish_of_some_tables_never_takes_another_back_in_time(tmp_path: Path, wanted: set[str]) -> None:
    """The file whose turn it is lacks what the last sync loaded, and the run names only some tables."""
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
    """The second is told which process writes, and nothing is broken."""
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
    """SIGKILL with rows computed and not published: readers see the old rows, the next sync the new."""
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
    """Its mode takes the write permission from tools that open databases for writing by default."""
    folder = DataFolder(tmp_path)
    folder.sync()
    assert folder.warehouse.published.stat().st_mode & 0o222 == 0


def test_tables_and_columns_carry_their_descriptions(tmp_path: Path) -> None:
    """A BI tool shows what the SQL headers say."""
    folder = DataFolder(tmp_path)
    folder.sync()
    assert folder.rows(
        "select comment from duckdb_columns() where table_name = 'calls' and column_name = 'duration_s'"
    ) == [("from started_at to ended_at [s]",)]


def test_the_oldest_duckdb_that_bi_tools_bundle_reads_the_published_file(
    tmp_path: Path, oldest_duckdb: Path
) -> None:
    """DuckDB 1.1.3 opens the file and reads every kind of column in it."""
    folder = DataFolder(tmp_path)
    folder.land(bodies_of(World.build(calls=10)))
    folder.sync()
    script = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "tables = connection.execute(\"select table_name from duckdb_tables() where schema_name = 'main'\")\n"
        "for (table,) in tables.fetchall(): connection.execute(f'from {table}').fetchall()\n"
        "print(duckdb.__version__, connection.execute('select count(*) from calls_enriched').fetchone()[0])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(oldest_duckdb)}
    command = [sys.executable, "-c", script, str(folder.warehouse.published)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == f"{OLDEST_READER} 10\n"
    assert duckdb.__version__ != OLDEST_READER


@pytest.mark.parametrize("is_published", [True, False])
def test_a_damaged_file_is_made_anew(tmp_path: Path, is_published: bool) -> None:
    """Whichever file a crash or a full disk left in pieces, the next syncs go on and publish what landed."""
    folder = DataFolder(tmp_path)
    for number in range(2):
        land_call(folder, number)
        folder.sync()
    published = folder.warehouse.published.resolve()
    (resting,) = (path for path in published.parent.glob("*.duckdb") if path != published)
    damaged = published if is_published else resting
    damaged.chmod(0o644)
    os.truncate(damaged, damaged.stat().st_size // 2)
    if is_published:
        with pytest.raises(NothingPublishedError, match=r"is damaged .* `verbex-sync sync` makes it anew"):
            folder.rows("from calls")
    for number in (2, 3):
        land_call(folder, number)
        folder.sync()
        assert folder.rows("select count(*) from calls") == [(number + 1,)]


def test_tables_that_are_published_alone_stand_with_what_reads_them(tmp_path: Path) -> None:
    """Materialised in any order, on nothing or on what is there, the published tables never disagree."""
    folder = DataFolder(tmp_path)
    for number, table in enumerate(["quarantine", "events", "calls"]):
        land_call(folder, number)
        with open_session(folder) as session:
            model = next(model for model in session.models if model.table == table)
            session.update(model)
            session.inspect(model, load_checks(folder.sql_dir))
            session.publish(NOON)
    assert folder.rows("select count(*) from calls") == folder.rows("select count(*) from events") == [(2,)]


def test_a_folder_may_have_a_quote_in_its_name(tmp_path: Path) -> None:
    """As the home of somebody called O'Brien may."""
    folder = DataFolder(tmp_path / "o'brien")
    for _ in range(2):
        folder.sync()
    assert all(table.is_equal for table in compare_with_rebuild(folder))


def test_sql_that_fails_is_named_and_what_was_published_stays(tmp_path: Path) -> None:
    """A customer's model that can't be run says which file it is and why."""
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    shutil.copytree(sql_folder(), folder.sql_dir)
    land_call(folder, 0)
    folder.sync()
    (folder.sql_dir / "marts" / "mine.sql").write_text("select no_such_column from calls")
    with pytest.raises(ModelError, match=r"marts/mine.sql failed: .*no_such_column"):
        folder.sync()
    assert folder.rows("select count(*) from calls") == [(1,)]


def test_changed_sql_rebuilds_its_table_and_its_readers_by_itself(tmp_path: Path) -> None:
    """A new column in a model migrates an existing warehouse with the next sync, also of another table."""
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
    """Deleting a model's file drops its table with the next sync."""
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    shutil.copytree(sql_folder(), folder.sql_dir)
    folder.sync()
    (folder.sql_dir / "marts" / "agent_daily.sql").unlink()
    folder.sync()
    assert folder.rows("select count(*) from duckdb_tables() where table_name = 'agent_daily'") == [(0,)]
