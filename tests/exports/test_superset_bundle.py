"""The dashboard for Superset, as files: whole, without secrets, and the same again. No Superset is needed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import duckdb
import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy.engine import URL, make_url

from pipelines.cli import main
from pipelines.exports.address import Address
from pipelines.exports.superset import write_bundle
from pipelines.exports.superset_charts import COLORS, ROWS, TABLES, Chart
from pipelines.exports.superset_database import Database, duckdb_file, postgresql_database
from pipelines.exports.target import TargetError
from pipelines.models.load import load_sql
from pipelines.models.model import Model
from pipelines.models.sql_file import sql_folder

MASK = "XXXXXXXXXX"
TARGET = "postgresql://bi@db.example.com:5433/analytics"
CHARTS = [chart for row in ROWS for chart in row]

Files = dict[str, dict[str, Any]]
Bundle = Callable[[Database | str], Files]


@pytest.fixture(scope="module")
def models() -> tuple[Model, ...]:
    return load_sql(sql_folder()).models


@pytest.fixture(scope="module")
def tables(models: tuple[Model, ...]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty tables of our models."""
    with duckdb.connect() as connection:
        for model in models:
            if "." not in model.table:
                columns = ", ".join(f'"{each.name}" {each.type}' for each in model.columns)
                connection.execute(f"create table {model.table} ({columns})")
        yield connection


@pytest.fixture
def bundle(models: tuple[Model, ...], tmp_path: Path) -> Bundle:
    """Writes a bundle, and reads its files by name, which needs no folder before it."""

    def write(database: Database | str) -> Files:
        if isinstance(database, str):
            database = postgresql_database(Address(database))
        write_bundle(tmp_path / "bundle.zip", database, models)
        with ZipFile(tmp_path / "bundle.zip") as opened:
            return {name.partition("/")[2]: yaml.safe_load(opened.read(name)) for name in opened.namelist()}

    return write


def of_kind(files: Files, kind: str) -> list[dict[str, Any]]:
    return [content for name, content in files.items() if name.startswith(f"{kind}/")]


def uuids(files: Files) -> dict[str, str]:
    return {name: content["uuid"] for name, content in files.items() if "uuid" in content}


def urls(files: Files) -> tuple[URL, str]:
    """The URL of the database as SQLAlchemy reads it, and as it stands there."""
    (database,) = of_kind(files, "databases")
    return make_url(database["sqlalchemy_uri"]), database["sqlalchemy_uri"]


def references(value: object) -> Iterator[str]:
    """All identities that are named anywhere inside."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("dataset_uuid", "database_uuid", "datasetUuid", "uuid"):
                yield str(inner)
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_everything_that_a_file_refers_to_is_in_the_bundle(bundle: Bundle) -> None:
    """A chart knows its table, a table its database, the dashboard its charts; and all charts are on it."""
    files = bundle(TARGET)
    known = set(uuids(files).values())
    assert len(known) == len(files) - 1  # all but the metadata
    assert set(references(files)) == known
    (dashboard,) = of_kind(files, "dashboards")
    shown = set(references(dashboard["position"]))
    assert shown == {chart["uuid"] for chart in of_kind(files, "charts")}


def test_the_widths_of_a_row_fill_the_dashboard() -> None:
    """Superset has twelve columns, and moves what does not fit."""
    assert {sum(chart.width for chart in row) for row in ROWS} == {12}


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_a_chart_names_only_what_its_table_has(tables: duckdb.DuckDBPyConnection, chart: Chart) -> None:
    """Its columns, its metrics and their SQL."""
    (table,) = (each for each in TABLES if each.name == chart.table)
    numbers = {metric.name: metric.expression for metric in table.metrics}
    columns = [table.columns.get(name, name) for name in chart.by]
    selected = ", ".join([*columns, *(numbers[name] for name in chart.metrics)])
    found = tables.execute(f"select {selected}, max(day) from {chart.table} group by all")  # noqa: S608
    assert len(found.description or ()) == len(chart.by) + len(chart.metrics) + 1


def test_no_metric_is_left_over() -> None:
    """And none has a color that is gone."""
    metrics = {(table.name, metric.name) for table in TABLES for metric in table.metrics}
    shown = {(chart.table, name) for chart in CHARTS for name in chart.metrics}
    assert metrics - shown <= {("calls_enriched", "total_calls")}
    assert set(COLORS) - {"completed", "in_progress"} <= {name for _, name in metrics}


@pytest.mark.parametrize("schema", ["verbex", "other"])
def test_tables_have_the_columns_that_are_exported(
    bundle: Bundle, tables: duckdb.DuckDBPyConnection, schema: str
) -> None:
    """Hashes, which are left out of exports, are left out here; times are known as such."""
    for dataset in of_kind(bundle(f"{TARGET}?schema={schema}"), "datasets"):
        assert dataset["schema"] == schema
        there = tables.execute(f"describe {dataset['table_name']}").fetchall()
        given = {each["column_name"]: each for each in dataset["columns"] if "expression" not in each}
        assert [*given] == [name for name, *_ in there if not name.endswith("_hash")]
        times = {name for name, kind, *_ in there if kind.startswith(("DATE", "TIMESTAMP"))}
        assert {name for name, each in given.items() if each["is_dttm"]} == times


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bi:hunter2%20and%20more@db.example.com:5433/analytics",
        "postgres://bi:hunter2 and more@db.example.com:5433/analytics?schema=verbex",
        f"{TARGET}?password=hunter2%20and%20more&sslmode=require",
        f"{TARGET}?sslpassword=hunter2+and+more&schema=verbex",
    ],
)
def test_no_password_is_in_a_bundle(bundle: Bundle, url: str) -> None:
    """Superset asks for it: it does so where it finds its own mask."""
    files = bundle(url)
    read, written = urls(files)
    assert "hunter2" not in str(files)
    assert (read.drivername, read.username, read.password) == ("postgresql", "bi", MASK)
    assert (read.host, read.port, read.database) == ("db.example.com", 5433, "analytics")
    assert ("sslmode=require" in written) == ("sslmode" in url)
    assert "schema" not in read.query


def test_a_user_whose_password_is_in_a_file_is_not_asked(bundle: Bundle) -> None:
    """The file is the one of that name beside Superset."""
    read, _ = urls(bundle(f"{TARGET}?passfile=/etc/pgpass"))
    assert (read.username, read.password, read.query["passfile"]) == ("bi", None, "/etc/pgpass")


def test_sessions_are_in_utc(bundle: Bundle) -> None:
    """Superset takes what they say for UTC. Options that were there stay."""
    read, _ = urls(bundle(f"{TARGET}?options=-c%20statement_timeout%3D5s"))
    assert read.query["options"] == "-c statement_timeout=5s -c timezone=UTC"
    read, _ = urls(bundle(duckdb_file(Path("warehouse.duckdb"))))
    assert read.query["timezone"] == "UTC"


def test_the_same_input_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    """So a bundle can be kept under version control."""
    bundle(TARGET)
    first = (tmp_path / "bundle.zip").read_bytes()
    bundle(TARGET)
    assert (tmp_path / "bundle.zip").read_bytes() == first


def test_importing_again_changes_what_is_there(bundle: Bundle) -> None:
    """Also for another user and other options; another database has a dashboard of its own beside it."""
    first = uuids(bundle(TARGET))
    other_user = TARGET.replace("bi@", "other:pw@")
    assert uuids(bundle(f"{other_user}?schema=verbex&sslmode=require")) == first
    others: list[Database | str] = [
        duckdb_file(Path("warehouse.duckdb")),
        f"{TARGET}2",
        f"{TARGET}?schema=other",
    ]
    assert all(set(uuids(bundle(other)).values()).isdisjoint(first.values()) for other in others)


def test_a_table_that_is_gone_is_named(models: tuple[Model, ...], tmp_path: Path) -> None:
    """A checkout may remove one."""
    left = [model for model in models if model.table != "agent_hourly"]
    with pytest.raises(TargetError, match=r"A dashboard reads agent_hourly, which your SQL does not make"):
        write_bundle(tmp_path / "bundle.zip", postgresql_database(Address(TARGET)), left)
    assert [*tmp_path.iterdir()] == []


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, which commands find in their settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERBEX_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, ["export", "--superset", *words])


def test_without_a_target_it_reads_the_published_file_and_writes_nothing(data: Path) -> None:
    """By the name that stays at every publish, not by the file behind it."""
    done = typed("bundle.zip")
    assert (done.exit_code, "a dashboard of 12 charts" in done.output) == (0, True), done.output
    with ZipFile("bundle.zip") as opened:
        files = {name: yaml.safe_load(opened.read(name)) for name in opened.namelist()}
    read = make_url(files["verbex_sync/databases/verbex.yaml"]["sqlalchemy_uri"])
    assert (read.drivername, read.database) == ("duckdb", str(data / "warehouse.duckdb"))
    assert read.query["access_mode"] == "READ_ONLY"


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["--to", "parquet:/lake"], 2, "parquet:/lake is no database that Superset reads."),
        (["--to", TARGET, "--to", f"{TARGET}2"], 2, "A dashboard reads one database: type --to once."),
        (["--status"], 2, "Type one of --full-refresh, --status, --verify and --superset"),
        (["--tables", "calls"], 2, "--tables is for exports"),
        (["--to", "postgresql://bi:p@QX/QX@db/analytics"], 2, "write its special characters"),
        (["--to", "postgresql://bi:QX/QX@db/analytics"], 2, "write its special characters"),
    ],
)
@pytest.mark.usefixtures("data")
def test_what_no_dashboard_can_be_written_for_is_said(words: list[str], exit_code: int, said: str) -> None:
    """And no file is made."""
    done = typed("bundle.zip", *words)
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output
    assert "QX" not in done.output
    assert not Path("bundle.zip").exists()


@pytest.mark.parametrize(
    ("path", "reason"), [("missing/b.zip", "No such file or directory"), ("file/b.zip", "Not a directory")]
)
@pytest.mark.usefixtures("data")
def test_a_file_that_cannot_be_written_is_named(path: str, reason: str) -> None:
    """With the reason."""
    Path("file").touch()
    done = typed(path)
    assert done.exit_code == 1
    assert f"{path} can't be written: {reason}." in done.output
