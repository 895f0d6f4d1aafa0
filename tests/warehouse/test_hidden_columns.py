"""Columns that only loads need are out of sight: in SQL, catalogs, the reference, Dagster and exports."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.data_folder import DataFolder, body
from support.oracle import ENDED, STARTED

from pipelines.assets.metadata import checks_of, column_schema
from pipelines.exports.change import open_source
from pipelines.models.load import load_sql, read_model
from pipelines.models.model import Model
from pipelines.models.reference import render_tables
from pipelines.models.sql_file import sql_folder
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.changes import is_public
from pipelines.warehouse.ledger import Ledger
from pipelines.warehouse.tables import copy_table, create_table, drop_table

MODELS = load_sql(sql_folder()).models
HIDDEN = {column.name for model in MODELS for column in model.columns if column.is_hidden}
STORED = [model for model in MODELS if model.stored != model.table]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A published folder with a mart that selects everything of `calls`, and one that names a hash."""
    path = tmp_path_factory.mktemp("hidden")
    (path / "own" / "marts").mkdir(parents=True)
    (path / "own" / "marts" / "all_of_calls.sql").write_text("select * from calls")
    (path / "own" / "marts" / "hashes.sql").write_text("select call_id, call_hash from stored.calls")
    made = DataFolder(path / "data", own_sql_dir=path / "own")
    made.land([body("a", STARTED, "call", 0), body("b", ENDED, "call", 60)])
    made.sync()
    return made


def test_there_are_hidden_columns() -> None:
    """The other tests would pass without any."""
    assert {"call_hash", "trace_hash", "identity_hash", "last_step", "round"} == HIDDEN
    stored = {model.table for model in STORED}
    assert stored == {"actions", "calls", "calls_enriched", "events", "pca_fetches"}


def test_people_see_the_columns_of_the_reference_and_no_others(folder: DataFolder) -> None:
    """Names, order and comments; and no integer that a spreadsheet rounds."""
    reference = render_tables(sql_folder())
    shown = {
        model.table: [(column.name, column.description) for column in model.shown_columns] for model in MODELS
    }
    in_reference = {
        part.partition("</code>")[0]: [
            line.split("`")[1] for line in part.splitlines() if line.startswith("| `")
        ]
        for part in reference.split("<code>")[1:]
    }
    catalog = (
        "select table_name, column_name, comment from duckdb_columns() where schema_name = 'main'"
        " order by table_name, column_index"
    )
    published: dict[str, list[tuple[str, str]]] = {}
    for table, name, comment in folder.rows(catalog):
        published.setdefault(table, []).append((name, comment))
    for model in MODELS:
        names = [name for name, _ in shown[model.table]]
        assert in_reference[model.table] == names
        assert [column.name for column in column_schema(model.columns).columns] == names
        if is_public(model):
            assert published[model.table] == shown[model.table]


def test_no_catalog_of_what_people_see_has_a_hidden_column(folder: DataFolder) -> None:
    """Not even a mart of their own that selects everything; one that names them gets them."""
    columns = (
        "select table_name, column_name, data_type from information_schema.columns"
        " where table_schema = 'main'"
    )
    assert [(table, name) for table, name, _ in folder.rows(columns) if name in HIDDEN] == [
        ("hashes", "call_hash")
    ]
    assert [table for table, _, kind in folder.rows(columns) if kind == "UBIGINT"] == ["hashes"]
    with open_source(folder) as source:
        exported = {table.name: {column.name for column in table.columns} for table in source.list_tables()}
    assert {model.table for model in STORED} <= exported.keys()
    assert [name for name, names in exported.items() if names & HIDDEN] == ["hashes"]
    checks = [check for model in MODELS for check in checks_of(model, [])]
    assert not [check.name for check in checks if any(name in check.description for name in HIDDEN)]


def test_what_is_stored_says_where_to_read(folder: DataFolder) -> None:
    """Whoever finds the schema of loads is sent to the view, which has a description."""
    stored = folder.rows(
        "select table_name, comment from duckdb_tables() where schema_name = 'stored' order by all"
    )
    assert stored == [
        (model.table, f"For loads. Read {model.table}.") for model in sorted(STORED, key=lambda m: m.table)
    ]
    views = dict(folder.rows("select view_name, comment from duckdb_views() where schema_name = 'main'"))
    assert all(views[model.table] == model.description for model in STORED)


def shown_all(folder: Path) -> Path:
    """Write the SQL as it was before columns could be hidden."""
    for path in shutil.copytree(sql_folder(), folder).rglob("*.sql"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("ubigint hidden:", "ubigint:").replace("stored.", ""), encoding="utf-8")
    return folder


def test_tables_come_over_when_their_columns_are_hidden_or_shown_again(tmp_path: Path) -> None:
    """By the next syncs, in each file in its turn, and the proof holds."""
    hidden = DataFolder(tmp_path / "data")
    shown = DataFolder(tmp_path / "data", sql_dir=shown_all(tmp_path / "sql"))
    was = ""
    syncs = ((shown, "BASE TABLE"), (hidden, "VIEW"), (hidden, "VIEW"), (shown, "BASE TABLE"))
    for number, (each, kind) in enumerate(syncs, 1):
        if number > 1:  # an export before the next sync takes what is there as a whole
            with open_source(each) as source:
                (calls,) = source.list_tables(["calls"])
                assert {column.name for column in calls.columns}.isdisjoint(HIDDEN) or each is shown
                change = source.find_change(calls, source.publish.id)
                assert (change.count() if change else None) == (None if kind == was else (number - 1, 0))
        was = kind
        each.land([body(f"t{number}", STARTED, f"call-{number}", number)])
        each.sync()
        kinds = "select table_type from information_schema.tables where table_schema = 'main'"
        assert each.rows(f"{kinds} and table_name = 'calls'") == [(kind,)]
        assert each.rows("select (select count(*) from calls), count(*) from calls_enriched") == [
            (number, number)
        ]
        assert ("call_hash" in {name for name, *_ in each.rows("describe calls")}) == (each is shown)
    assert all(difference.is_equal for difference in compare_with_rebuild(shown))


CALLS = """
-- A call.
--
-- grain: call_id
-- columns:
--   call_id varchar: its id
--   call_hash ubigint{}: a hash
"""
ROWS = "select 'a' as call_id, 1::ubigint as call_hash"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("create schema stored")
        yield opened


def model_of(folder: Path, *, is_hidden: bool) -> Model:
    path = folder / ("hiding" if is_hidden else "showing") / "marts" / "own_calls.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{CALLS.format(' hidden' if is_hidden else '')}{ROWS}")
    return read_model(path)


@pytest.mark.parametrize("was_hidden", [True, False])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_table_that_is_held_back_stays_as_people_saw_it(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection, *, was_hidden: bool, is_hidden: bool
) -> None:
    """What is hidden today, or was when it was published, is not seen."""
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("create schema stored")
        theirs = model_of(tmp_path, is_hidden=was_hidden)
        create_table(other, theirs)
        other.execute(f"insert into {theirs.stored} by name {ROWS}")
    connection.execute(f"attach '{tmp_path / 'other.duckdb'}' as other (read_only)")
    copy_table(connection, model_of(tmp_path, is_hidden=is_hidden))
    seen = ["call_id"] if was_hidden or is_hidden else ["call_id", "call_hash"]
    assert [name for name, *_ in connection.execute("describe own_calls").fetchall()] == seen
    assert connection.execute("select call_id from own_calls").fetchall() == [("a",)]
    comments = "select comment from duckdb_columns() where database_name = 'memory' and schema_name = 'main'"
    assert connection.execute(f"{comments} and column_name = 'call_id'").fetchall() == [("its id",)]


@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_table_is_dropped_whatever_it_hides(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection, *, is_hidden: bool
) -> None:
    """By its name alone, because its file may be gone or hide something else. Nothing is left of its name."""
    for now_hidden in (is_hidden, not is_hidden):
        create_table(connection, model_of(tmp_path, is_hidden=now_hidden))
        drop_table(connection, "own_calls")
        left = "select count(*) from duckdb_columns() where table_name = 'own_calls'"
        assert connection.execute(left).fetchall() == [(0,)]
    drop_table(connection, "own_calls")


def test_a_file_with_bookkeeping_of_another_version_is_emptied_of_views_too(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    """A view that stayed would have a name that a table needs."""
    create_table(connection, model_of(tmp_path, is_hidden=True))
    connection.execute("create schema ops; create table ops.loads (another integer)")
    ledger = Ledger(connection)
    assert connection.execute("select view_name from duckdb_views() where not internal").fetchall() == []
    ledger.create(model_of(tmp_path, is_hidden=False))
