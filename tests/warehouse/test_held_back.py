"""A table that can't be updated: it and what reads it stay as published, and everything else goes on."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from support.data_folder import NOON, NOON_US, DataFolder, body
from support.oracle import STARTED

from pipelines.models.sql_file import ModelError, sql_folder
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.audit import AuditError
from pipelines.warehouse.data_folder import OutdatedTablesError
from pipelines.warehouse.session import open_session

COUNTED = "select agent_id, count(*) as calls from calls group by agent_id"
READER = "select max(calls) as most from counted"


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One call in a mart and in a mart that reads it, synced into several files."""
    path = tmp_path_factory.mktemp("synced")
    shutil.copytree(sql_folder(), path / "sql")
    folder = DataFolder(path / "data", sql_dir=path / "sql")
    write(folder, "counted", COUNTED)
    write(folder, "most", READER)
    land(folder, 1)
    for _ in range(3):
        folder.sync()
    return path


@pytest.fixture
def folder(synced: Path, tmp_path: Path) -> DataFolder:
    """A copy of that folder."""
    shutil.copytree(synced, tmp_path, symlinks=True, dirs_exist_ok=True)
    return DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")


def write(folder: DataFolder, name: str, sql: str, *, room: str = "marts") -> None:
    (folder.sql_dir / room / f"{name}.sql").write_text(sql)


def land(folder: DataFolder, number: int) -> None:
    folder.land([body(f"s{number}", STARTED, f"c{number}", number)], received_at_us=NOON_US + number)


def sync(folder: DataFolder) -> dict[str, str]:
    """Update every table as follow mode does, publish, and return the reasons of those held back."""
    with open_session(folder) as session:
        for model in session.models:
            with suppress(AuditError, ModelError):
                session.update(model)
        session.publish(NOON)
    return {table: str(error) for table, error in session.held_back.items()}


def shown(folder: DataFolder) -> list[tuple[int, ...]]:
    return folder.rows(
        "select (select count(*) from calls), (select sum(calls) from counted), (select most from most)"
    )


FAULTS = {
    "a cast that fails": COUNTED.replace("count(*)", "any_value(call_id)::integer"),
    "a table that is none": COUNTED.replace("from calls", "from callz"),
    "a wide view": "select 'x' as agent_id, count(*) as calls from pca_wide.agent",
    "the status": "select 'x' as agent_id, events as calls from pipeline_status",
    "a CSV beside it": "select 'x' as agent_id, count(*) as calls from 'targets.csv'",
    "a table named in a text": "select 'x' as agent_id, 1 as calls from query_table('pipeline_status')",
    "the catalog": "select 'x' as agent_id, count(*) as calls from information_schema.tables",
    "a function that reads such a table": "select 'x' as agent_id, published_events() as calls",
    "a broken promise": f"-- A count.\n--\n-- not null: calls\n{COUNTED.replace('count(*)', 'null::bigint')}",
    "a column that is not selected": (
        "-- A count.\n--\n-- columns:\n--   agent_id varchar: a\n--   calls bigint: b\n--   extra bigint: c\n"
        f"{COUNTED}"
    ),
    "a grain that is not selected": f"-- A count.\n--\n-- grain: day\n{COUNTED}",
    "no SQL": "selec agent_id, 1 as calls",
    "two statements": f"{COUNTED}; {COUNTED}",
    "a schema that is none": f"-- A count.\n--\n-- schema: elsewhere\n{COUNTED}",
    "prose in a field": f"-- A count.\n--\n-- grain: one row for each agent\n{COUNTED}",
    "an empty file": "",
    "a column called rowid": COUNTED.replace("agent_id,", "agent_id, 1 as rowid,"),
}


@pytest.mark.parametrize("sql", FAULTS.values(), ids=FAULTS.keys())
def test_a_mart_that_fails_waits_with_what_reads_it_and_all_else_is_published(
    folder: DataFolder, sql: str
) -> None:
    """Both show their rows from before."""
    write(folder, "published_events", "-- Events.\n(select events from pipeline_status)", room="functions")
    (folder.sql_dir / "marts" / "targets.csv").write_text("a\n1\n")
    write(folder, "counted", sql)
    land(folder, 2)
    reasons = sync(folder)
    assert set(reasons) == {"counted", "most"}
    assert "counted" in reasons["counted"]
    assert shown(folder) == [(2, 1, 1)]


@pytest.mark.parametrize("name", ["a cast that fails", "a table that is none", "a broken promise", "no SQL"])
def test_all_files_that_take_turns_hold_a_mart_back_and_catch_up(folder: DataFolder, name: str) -> None:
    """Each of the three shows the rows from before. Once the mart is fixed, nothing is missing."""
    write(folder, "counted", FAULTS[name])
    for number in range(2, 5):
        land(folder, number)
        assert set(sync(folder)) == {"counted", "most"}
        assert shown(folder) == [(number, 1, 1)]
    with pytest.raises((ModelError, AuditError), match="counted"):
        list(compare_with_rebuild(folder))
    write(folder, "counted", COUNTED)
    for _ in range(3):
        assert sync(folder) == {}
        assert shown(folder) == [(4, 4, 4)]
    assert [found.table for found in compare_with_rebuild(folder) if not found.is_equal] == []


@pytest.mark.parametrize("content", [COUNTED.encode("utf-16"), "select '日'".encode("shift_jis")])
def test_a_mart_in_another_encoding_waits_alone(folder: DataFolder, content: bytes) -> None:
    """An editor on another system has saved it."""
    (folder.sql_dir / "marts" / "counted.sql").write_bytes(content)
    land(folder, 2)
    assert "UTF-8" in sync(folder)["counted"]
    assert shown(folder) == [(2, 1, 1)]


def test_a_mart_that_never_worked_is_left_out(tmp_path: Path) -> None:
    """In a fresh folder too: every other table is built and published."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    write(folder, "counted", FAULTS["a wide view"])
    write(folder, "most", READER)
    land(folder, 1)
    reasons = sync(folder)
    assert set(reasons) == {"counted", "most"}
    assert "sql/marts/counted.sql reads `pca_wide.agent`, which no model makes" in reasons["counted"]
    assert "it reads counted" in reasons["most"]
    assert folder.rows("select count(*) from calls") == [(1,)]
    assert folder.rows("select count(*) from duckdb_tables() where table_name = 'counted'") == [(0,)]


def test_a_failed_check_of_a_mart_holds_back_only_that_mart(folder: DataFolder) -> None:
    """Its rows and their comments stay as they are published."""
    write(
        folder, "at_most_one", "-- One call.\n--\n-- on: counted\nfrom counted where calls > 1", room="checks"
    )
    comments = "select comment from duckdb_columns() where table_name = 'calls' order by column_name"
    before = folder.rows(comments)
    for number in (2, 3):
        land(folder, number)
        assert set(sync(folder)) == {"counted", "most"}
        assert shown(folder) == [(number, 1, 1)]
        assert folder.rows(comments) == before
    (folder.sql_dir / "checks" / "at_most_one.sql").unlink()
    assert sync(folder) == {}
    assert shown(folder) == [(3, 3, 3)]


def test_a_model_of_ours_that_fails_is_as_published_too_with_its_comments(folder: DataFolder) -> None:
    """Files take turns, and the one that is written may be older than the published one."""
    path = folder.sql_dir / "marts" / "agent_daily.sql"
    good = path.read_text()
    comments = "select comment from duckdb_columns() where table_name = 'agent_daily' order by column_name"
    before = folder.rows(comments)
    land(folder, 2)
    folder.sync()
    path.write_text(good.replace("count(*) as calls", "error('broken')::bigint as calls"))
    for _ in range(3):
        assert set(sync(folder)) == {"agent_daily"}
        assert folder.rows("select sum(calls) from agent_daily") == [(2,)]
        assert folder.rows(comments) == before
    path.write_text(good)
    assert sync(folder) == {}
    assert [found.table for found in compare_with_rebuild(folder) if not found.is_equal] == []


def test_nothing_is_published_if_a_table_that_loads_from_landing_fails(folder: DataFolder) -> None:
    """Nearly everything is made from it."""
    write(folder, "no_second", "-- One.\n--\n-- on: events\nfrom events where trace_id = 's2'", room="checks")
    land(folder, 2)
    with pytest.raises(AuditError, match="no_second"):
        sync(folder)
    assert shown(folder) == [(1, 1, 1)]


def test_a_mart_that_was_added_or_changed_is_no_difference_but_a_reason_to_sync(folder: DataFolder) -> None:
    """`verify --rebuild` before the sync that builds it says so."""
    for name, sql in (
        ("counted", COUNTED.replace("as calls", "as calls, 2 as two")),
        ("new", "select 1 as one"),
    ):
        write(folder, name, sql)
        with pytest.raises(OutdatedTablesError, match=f"The published table {name} was made by other SQL"):
            list(compare_with_rebuild(folder))
        write(folder, name, COUNTED if name == "counted" else "select 1 as one")


def test_a_model_that_dagster_still_knows_but_whose_file_is_gone_is_refused(folder: DataFolder) -> None:
    """Otherwise its table would be built by SQL that nobody sees any more."""
    models = folder.models
    (folder.sql_dir / "marts" / "most.sql").unlink()
    with open_session(folder) as session:
        for model in models:
            with suppress(ModelError):
                session.update(model)
        with pytest.raises(ModelError, match=r"sql/marts/most.sql is gone"):
            session.update(next(model for model in models if model.name == "most"))
        session.publish(NOON)
        assert session.held_back == {}
    assert folder.rows("select count(*) from duckdb_tables() where table_name = 'most'") == [(0,)]


def test_files_that_can_not_be_models_wait_alone(folder: DataFolder) -> None:
    """A copy, a circle, a broken file in a folder of one's own, and one whose ending was changed."""
    marts = folder.sql_dir / "marts"
    (marts / "most.sql").rename(marts / "most.SQL")
    (folder.sql_dir / "team").mkdir()
    for name, sql in {
        "marts/counted (1)": COUNTED,
        "marts/one": "from two",
        "marts/two": "from one",
        "team/broken": "-- A.\n-- schema: ops\nselec 1",
        "marts/written": "values (1, 'a'), (2, 'b')",
    }.items():
        (folder.sql_dir / f"{name}.sql").write_text(sql)
    land(folder, 2)
    reasons = sync(folder)
    assert set(reasons) == {"most", "one", "two", "ops.broken"}
    assert "most.SQL: its name must end in `.sql`" in reasons["most"]
    assert shown(folder) == [(2, 2, 1)]
    assert folder.rows("select count(*) from written") == [(2,)]
    with open_session(folder) as session:
        assert ["counted (1).sql" in problem for problem in session.unusable] == [True]


@pytest.mark.parametrize(
    "sql",
    ["select nothing from events", "select trace_id::integer from events", "select half('a') from events"],
)
def test_a_check_that_cannot_run_keeps_no_landed_rows_back(folder: DataFolder, sql: str) -> None:
    """Everything is made from these, so they go on unchecked, and the run names the check."""
    write(folder, "half", "-- Half.\n-- parameters: a\na::integer / 2", room="functions")
    write(folder, "mine", f"-- A.\n--\n-- on: events\n{sql}", room="checks")
    land(folder, 2)
    with open_session(folder) as session:
        for model in session.models:
            session.update(model)
        (events,) = (model for model in session.models if model.table == "events")
        findings = {found.name: found for found in session.inspect(events, folder.sql.checks, NOON)}
        session.publish(NOON)
        assert ["checks/mine.sql" in problem for problem in session.unusable] == [True]
    assert "can't be run" in findings["mine"].problem
    assert shown(folder) == [(2, 2, 2)]


BROKEN_CHECKS = {
    "no SQL": ("mine", "-- A.\n--\n-- on: {on}\n-- severity: {severity}\nselec 1"),
    "an odd name": ("no-negative", "-- A.\n--\n-- on: {on}\n-- severity: {severity}\nfrom calls where false"),
    "a name that is taken": ("not_null", "-- A.\n--\n-- on: {on}\n-- severity: {severity}\nfrom calls"),
    "a function that is broken": ("mine", "-- A.\n--\n-- on: {on}\n-- severity: {severity}\nselect half(1)"),
    "no such table": ("mine", "-- A.\n--\n-- on: {on}z\n-- severity: {severity}\nfrom calls"),
    "a mistyped field": ("mine", "-- A.\n--\n-- on: {on}\n-- severty: {severity}\nfrom calls"),
    "an empty file": ("mine", ""),
}
WITHOUT_TABLE = {"no such table", "a mistyped field", "an empty file"}


@pytest.mark.parametrize("severity", ["warn", "error"])
@pytest.mark.parametrize("on", ["counted", "events"])
@pytest.mark.parametrize("kind", BROKEN_CHECKS)
def test_a_check_that_cannot_be_used_holds_back_at_most_its_table(
    folder: DataFolder, kind: str, on: str, severity: str
) -> None:
    """A blocking one holds back its own, but never what everything is made from. It is named in any case."""
    name, text = BROKEN_CHECKS[kind]
    write(folder, "half", "-- Half.\n-- parameters: a\na /", room="functions")
    write(folder, name, text.format(on=on, severity=severity), room="checks")
    land(folder, 2)
    is_held_back = severity == "error" and on == "counted" and kind not in WITHOUT_TABLE
    reasons = sync(folder)
    assert set(reasons) == ({"counted", "most"} if is_held_back else set())
    assert shown(folder) == [(2, 1, 1) if is_held_back else (2, 2, 2)]
    with open_session(folder) as session:
        assert any(f"checks/{name}.sql" in problem for problem in session.unusable)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("half", "-- Half.\n-- parameters: a\na /"),
        ("half", "-- Half.\n-- parameter: a\na / 2"),
        ("half", "-- Half.\n-- parameters: a\nhalf(a)"),
        ("half", "-- Half.\n-- parameters: a\na_quarter(a)"),
    ],
)
def test_a_function_that_cannot_be_used_holds_back_the_marts_that_call_it(
    folder: DataFolder, name: str, text: str
) -> None:
    """Directly, or by a function that calls it. They name its file, and everything else is published."""
    write(folder, "a_quarter", "-- A quarter.\n-- parameters: a\na /", room="functions")
    write(folder, name, text, room="functions")
    write(folder, "counted", COUNTED.replace("count(*)", "half(count(*))::bigint"))
    land(folder, 2)
    reasons = sync(folder)
    assert set(reasons) == {"counted", "most"}
    assert "functions/half.sql" in reasons["counted"]
    assert shown(folder) == [(2, 1, 1)]


@pytest.mark.parametrize("name", ["my-function", "lower", "unused"])
def test_a_function_that_nothing_can_call_is_named_and_holds_nothing_back(
    folder: DataFolder, name: str
) -> None:
    """One named like a function of DuckDB never stands in for it."""
    write(folder, name, "-- A.\n-- parameters: a\na" + " /" * (name == "unused"), room="functions")
    write(folder, "counted", COUNTED.replace("select agent_id", "select lower(agent_id) as agent_id"))
    land(folder, 2)
    assert sync(folder) == {}
    assert shown(folder) == [(2, 2, 2)]
    with open_session(folder) as session:
        assert [f"functions/{name}.sql" in problem for problem in session.unusable] == [True]
