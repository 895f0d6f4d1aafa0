"""The dashboard in Apache Superset: imported, and every chart asked for by its API.

Superset is installed into an environment of its own, so these tests are slow. Its server runs on machines of
several time zones, and the database of the export is in one more.
"""

import asyncio
import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.data_folder import DataFolder, settings_for
from support.postgresql import PASSWORD, Database, Server
from support.superset import Api, NotInstalledError, Superset, install_superset

from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.enrichment.fetch import fetch_all
from pipelines.exports.address import Address
from pipelines.exports.export import export
from pipelines.exports.superset import write_bundle
from pipelines.exports.superset_charts import ROWS
from pipelines.exports.superset_database import duckdb_file, postgresql_database

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superset")]

ZONES = ("UTC", "Asia/Tokyo", "Pacific/Kiritimati")  # where it may be tomorrow already
CHARTS = [chart.title for row in ROWS for chart in row]

# The definitions of sql/questions/, in the SQL of DuckDB.
EXPECTED = {
    "Calls": "select count(*) from calls",
    "Contained calls": "select count(*) filter (transferred_at is null) / count(*) from calls"
    " where status = 'completed'",
    "PCA coverage": "select count(*) filter (pca_status = 'fetched') / count(*) from calls"
    " where status = 'completed'",
    "Median duration (s)": "select median(duration_s) from calls",
    "Calls by day and agent": "select day, agent_name, count(*) from calls_enriched group by all",
    "Calls by status": "select status, count(*) from calls group by all",
    "Analyses (PCA) by day of the call": "select day, count(*) filter (pca_status = 'fetched'),"
    " count(*) filter (pca_status in ('awaiting', 'ready')), count(*) filter (pca_status = 'failed'),"
    " count(*) filter (pca_status = 'unavailable') from calls group by all",
    "PCA coverage by day": "select day, count(*) filter (pca_status = 'fetched')"
    " / nullif(count(*) filter (status = 'completed'), 0) from calls group by all",
    "Duration of calls by day (s)": "select day, quantile_cont(duration_s, 0.5),"
    " quantile_cont(duration_s, 0.95) from calls group by all",
    "Transfers: completed calls by agent": "select agent_name, count(*) filter (transferred_at is null),"
    " count(transferred_at) from calls_enriched where status = 'completed' group by all",
    "Busiest hours": "select strftime(day + to_hours(hour), '%H'), isodow(day) || strftime(day, ' %a'),"
    " count(*) from calls group by all",
    "Delay of analyses (PCA) by agent (s)": "select agent_name, quantile_cont(pca_lag_s, 0.5),"
    " quantile_cont(pca_lag_s, 0.95) from calls_enriched where pca_status <> 'failed' group by all",
}

AGES = """
import sys
import pandas as pd
import sqlalchemy
engine = sqlalchemy.create_engine(sys.argv[1], poolclass=sqlalchemy.pool.NullPool)
with engine.connect() as connection:
    at = pd.read_sql(sqlalchemy.text(sys.argv[2]), connection)["started_at"]
print(((pd.Timestamp.now(tz="UTC") - pd.to_datetime(at, utc=True)).dt.total_seconds() / 3600).max())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Simulated calls of nine days until now, with their analyses."""
    now = datetime.now(UTC)
    world = World.build(seed=5, calls=300, start_at=now - timedelta(days=9), span_s=9 * 86_400 - 3_600)
    made = DataFolder(tmp_path_factory.mktemp("superset") / "data")
    sent = list(world.deliveries())
    received_us = [world.start_us + int(each.offset_s * 1e6) for each in sent]
    made.land([each.event.body for each in sent], received_at_us=received_us)
    made.sync()

    async def fetch() -> None:
        async with ApiServer(world) as api:
            await asyncio.to_thread(fetch_all, settings_for(made, api), made)

    asyncio.run(fetch())
    made.sync()
    return made


@pytest.fixture(scope="module")
def exported(folder: DataFolder, server: Server) -> Database:
    """The tables in a database whose sessions are in New York, unless they say otherwise."""
    database = server.make_database()
    export(folder, database.url)
    database.run(f"alter database {database.name} set timezone = 'America/New_York'")
    return database


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Superset]:
    """An installed Superset, whose 700 MB do not stay."""
    home = tmp_path_factory.mktemp("superset_home")
    try:
        yield install_superset(home, server.make_database().url)
    except NotInstalledError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module", params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    """The time zone of the machine that serves Superset."""
    return str(request.param)


@pytest.fixture(scope="module")
def bundles(folder: DataFolder, exported: Database) -> list[Path]:
    """A bundle for PostgreSQL, and one for the published file."""
    paths = [folder.path / "postgresql.zip", folder.path / "duckdb.zip"]
    write_bundle(paths[0], postgresql_database(Address(exported.url)), folder.models)
    write_bundle(paths[1], duckdb_file(folder.warehouse.published), folder.models)
    return paths


@pytest.fixture(scope="module")
def api(superset: Superset, zone: str, bundles: list[Path]) -> Iterator[Api]:
    """A Superset that has imported both bundles, twice."""
    fields = {"passwords": json.dumps({"databases/verbex.yaml": PASSWORD}), "overwrite": "true"}
    with superset.serving(zone) as served:
        for bundle in bundles * 2:
            for path in ("/api/v1/dashboard/import/", "/api/v1/assets/import/"):
                status, answer = served.import_bundle(path, bundle, **fields)
                assert status == 200, answer
        yield served


def test_a_bundle_asks_for_its_password(superset: Superset, bundles: list[Path]) -> None:
    """So the browser shows a field for it. This runs first: a database that is there keeps its own."""
    with superset.serving("UTC") as served:
        status, answer = served.import_bundle("/api/v1/dashboard/import/", bundles[0])
    assert (status, "Must provide a password for the database" in answer) == (422, True), answer


def test_importing_again_doubles_nothing(api: Api) -> None:
    """One of everything for each bundle, by either way of importing."""
    counts = {kind: len(api.all(kind)) for kind in ("database", "dataset", "chart", "dashboard")}
    assert counts == {"database": 2, "dataset": 6, "chart": 2 * len(CHARTS), "dashboard": 2}


@pytest.mark.parametrize("title", CHARTS)
def test_a_chart_shows_what_the_tables_say(api: Api, folder: DataFolder, title: str) -> None:
    """From PostgreSQL and from the published file, to twelve digits."""
    expected = sorted(folder.rows(EXPECTED[title]), key=repr)
    charts = [chart for chart in api.all("chart") if chart["slice_name"] == title]
    assert len(charts) == 2
    for chart in charts:
        (result,) = api.ask("GET", f"/api/v1/chart/{chart['id']}/data/")["result"]
        shown = sorted((tuple(map(read, row.items())) for row in result["data"]), key=repr)
        assert shown
        assert len(shown) == len(expected)
        for row, truth in zip(shown, expected, strict=True):
            assert all(map(is_equal, row, truth)), (row, truth)


@pytest.mark.parametrize("schema", ["verbex", "main"])
@pytest.mark.parametrize(("table", "column"), [("agent_daily", "day"), ("calls_enriched", "started_at")])
@pytest.mark.parametrize("grain", ["day", "week"])
def test_days_are_right_in_every_time_zone(
    api: Api, folder: DataFolder, zone: str, schema: str, table: str, column: str, grain: str
) -> None:
    """Those of an axis, and of 'Last week', which is counted back from today on Superset's machine.

    Moments are cut into days of UTC, and `day` is as it is.
    """
    before = datetime.now(ZoneInfo(zone)).date()
    found = shown_last_week(api, schema, table, column, grain)
    after = datetime.now(ZoneInfo(zone)).date()
    assert found
    assert found in [last_week(folder, today, table, column, grain) for today in {before, after}]


@pytest.mark.parametrize("road", ["postgresql", "duckdb"])
def test_moments_are_right_in_pandas(
    superset: Superset, folder: DataFolder, exported: Database, zone: str, road: str
) -> None:
    """Beside `now`, on a machine of any zone."""
    schema, file = ("verbex", "") if road == "postgresql" else ("main", folder.warehouse.published)
    url = exported.url if road == "postgresql" else f"duckdb:///{file}?access_mode=READ_ONLY"
    sql = f"select started_at from {schema}.calls"  # noqa: S608
    done = subprocess.run(
        [str(superset.python), "-c", AGES, url, sql],
        env=superset.environment(TZ=zone),
        check=True,
        capture_output=True,
        text=True,
    )
    ((truth,),) = folder.rows("select epoch(now() - min(started_at)) / 3600 from calls")
    assert math.isclose(float(done.stdout), truth, abs_tol=0.5)


def read(item: tuple[str, Any]) -> object:
    """A value of a row, with the milliseconds of a day as a date."""
    name, value = item
    return datetime.fromtimestamp(value / 1000, UTC).date() if name == "day" else value


def is_equal(shown: object, truth: object) -> bool:
    if isinstance(shown, float) and isinstance(truth, float):
        return math.isclose(shown, truth, rel_tol=1e-12)
    return shown == truth


def shown_last_week(api: Api, schema: str, table: str, column: str, grain: str) -> dict[datetime, int]:
    """Ask as a browser does for the calls of each day or week."""
    (dataset,) = (
        each for each in api.all("dataset") if (each["schema"], each["table_name"]) == (schema, table)
    )
    axis = {"columnType": "BASE_AXIS", "sqlExpression": column, "label": column, "expressionType": "SQL"}
    query = {
        "columns": [axis | {"timeGrain": {"day": "P1D", "week": "P1W"}[grain]}],
        "metrics": ["total_calls"],
        "filters": [{"col": column, "op": "TEMPORAL_RANGE", "val": "Last week"}],
    }
    asked = {"datasource": {"id": dataset["id"], "type": "table"}, "force": True, "queries": [query]}
    (result,) = api.ask("POST", "/api/v1/chart/data", asked)["result"]
    return {datetime.fromtimestamp(row[column] / 1000, UTC): row["total_calls"] for row in result["data"]}


def last_week(folder: DataFolder, today: date, table: str, column: str, grain: str) -> dict[datetime, int]:
    """The same by DuckDB: the seven days before today."""
    number, day = ("sum(calls)", "day") if column == "day" else ("count(*)", f"({column} at time zone 'UTC')")
    rows = folder.rows(
        f"select date_trunc('{grain}', {day})::date, {number}::bigint from {table}"  # noqa: S608
        f" where {day} >= date '{today}' - 7 and {day} < date '{today}' group by 1"
    )
    return {datetime(at.year, at.month, at.day, tzinfo=UTC): calls for at, calls in rows}
