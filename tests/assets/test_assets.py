"""Dagster's side: what the graph shows, what a run reports, and the effect of a failed check."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.data_folder import NOON, NOON_US, DataFolder, bodies_of, body
from support.oracle import ENDED, STARTED

from connector.landing.zones import ACTIONS, EVENTS, PCA, ZONES
from connector.settings import Settings
from connector.simulator.world import World
from pipelines.actions.steps import StepRow, land_steps
from pipelines.definitions import build_definitions
from pipelines.models.sql_file import sql_folder
from pipelines.names import COMPACT_JOB, LOAD_JOB
from pipelines.resources import WarehouseResource
from pipelines.warehouse.lag import measure_lag


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Make a data folder whose tables are made by a copy of our SQL, which tests may change."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    return DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")


@pytest.fixture
def own_sql(folder: DataFolder) -> Path:
    """Return the folder of the SQL that makes the tables."""
    return folder.sql_dir


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def definitions_of(folder: DataFolder) -> dg.Definitions:
    settings = Settings(data_dir=folder.path, api_key=None)
    return build_definitions(settings, WarehouseResource(folder))


def load(folder: DataFolder, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = definitions_of(folder).resolve_job_def(LOAD_JOB)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def check_results(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return evaluations by name. If several tables have a check of one name, a failed one is returned."""
    found = sorted(result.get_asset_check_evaluations(), key=lambda evaluation: not evaluation.passed)
    return {evaluation.check_name: evaluation for evaluation in found}


@pytest.mark.parametrize("field", ["data_dir", "landing_url", "sql_dir", "is_full_refresh"])
def test_no_run_can_say_where_tables_are(
    folder: DataFolder, instance: dg.DagsterInstance, field: str
) -> None:
    """Whoever reaches the UI could else publish forged numbers; only settings say where things are."""
    job = definitions_of(folder).resolve_job_def(LOAD_JOB)
    config = {"resources": {"warehouse": {"config": {field: "elsewhere"}}}}
    with pytest.raises(dg.DagsterInvalidConfigError):
        job.execute_in_process(instance=instance, run_config=config)


def test_the_graph_reaches_from_landing_to_the_published_file(folder: DataFolder) -> None:
    """Every table depends on a zone of landing, and the published file depends on every table."""
    graph = definitions_of(folder).resolve_asset_graph()
    published = dg.AssetKey("published_warehouse")
    roots = {
        dg.AssetKey(f"landed_{zone}") for zone in ("events", "pca", "calls", "agents", "listed", "actions")
    }
    assert graph.root_materializable_asset_keys <= {
        dg.AssetKey("action_steps"),
        dg.AssetKey("agent_names_fetched"),
        dg.AssetKey("events"),
        dg.AssetKey("event_fields"),
        dg.AssetKey("header_mismatches"),
        dg.AssetKey("quarantine"),
        dg.AssetKey("pca_attempts"),
        dg.AssetKey("pca_seen_items"),
        dg.AssetKey("pca_configured_items"),
        dg.AssetKey("agent_attempts"),
        dg.AssetKey("call_attempts"),
        dg.AssetKey("landed_listed"),
    }
    assert {key for key in graph.get_all_asset_keys() if not graph.get(key).parent_keys} == roots
    tables = {dg.AssetKey(model.name) for model in folder.models}
    assert graph.get_ancestor_asset_keys(published) - roots == tables


def test_an_asset_shows_its_columns_with_descriptions(folder: DataFolder) -> None:
    """The UI shows the SQL header."""
    graph = definitions_of(folder).resolve_asset_graph()
    schema = graph.get(dg.AssetKey("calls")).metadata["dagster/column_schema"]
    described = {column.name: (column.type, column.description) for column in schema.columns}
    assert described["duration_s"] == ("double", "from started_at to ended_at [s]")


def test_materialising_everything_reports_rows_read_added_and_kept(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A run without an API key succeeds, and reports what it did for each asset."""
    bodies = bodies_of(World.build(calls=20))
    folder.land(bodies)
    definitions = definitions_of(folder)
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance)
    assert result.success
    (event,) = result.asset_materializations_for_node("events")
    metadata = {name: value.value for name, value in event.metadata.items()}
    assert metadata["rows_read"] == len(bodies)
    assert metadata["dagster/row_count"] == metadata["rows_added"] == len(set(bodies))
    assert not check_results(result)["api_key_is_set"].passed


def test_every_table_shows_its_lag(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    """It is the time since the newest receipt, both for tables that load from landing and for all others."""
    folder.land([body("a", STARTED, "call", 0)], received_at_us=NOON_US - 60_000_000)
    folder.land_answers(PCA, [{"call_id": "call", "attempted_at": NOON - timedelta(seconds=10)}])
    folder.sync()
    with folder.read() as tables:
        lags_s = {model.table: measure_lag(tables, model, folder.models, NOON) for model in folder.models}
    assert (lags_s["events"], lags_s["quarantine"], lags_s["ops.pca_attempts"]) == (60, None, 10)
    assert lags_s["calls"] == lags_s["agent_daily"] == lags_s["pca_items"] == 10
    began_at = datetime.now(UTC)
    result = load(folder, instance)
    (event,) = result.asset_materializations_for_node("calls")
    lag_s = event.metadata["lag_s"].value
    assert isinstance(lag_s, float)
    assert began_at <= NOON + timedelta(seconds=lag_s - 10) <= datetime.now(UTC)


def test_a_file_that_cannot_be_read_is_named_and_everything_else_continues(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A truncated landed file fails a check that names it, and is loaded once it is repaired."""
    folder.land([body("a", STARTED, "call-a", 0)])
    folder.land([body("b", STARTED, "call-b", 0)])
    broken = max((folder.path / "landing").rglob("*.parquet"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-20])
    result = load(folder, instance)
    assert result.success
    evaluation = check_results(result)["landed_files_are_readable"]
    assert not evaluation.passed
    assert broken.name in str(evaluation.metadata["files"].value)
    assert folder.rows("select call_id from calls") == [("call-a",)]
    broken.write_bytes(whole)
    folder.sync()
    assert folder.rows("select call_id from calls order by call_id") == [("call-a",), ("call-b",)]


def test_a_failed_check_keeps_the_old_rows_published_and_shows_the_bad_ones(
    own_sql: Path, folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """Rows that fail a blocking check are rolled back before the publish, and the failure shows them."""
    (own_sql / "checks" / "no_long_calls.sql").write_text(
        "-- Calls over an hour.\n--\n-- on: calls\n-- severity: error\n"
        "select call_id, duration_s from calls where duration_s > 3600\n"
    )
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    folder.land([body("b", ENDED, "call", 7200)], received_at_us=NOON_US + 1)
    result = load(folder, instance)
    assert not result.success
    evaluation = check_results(result)["no_long_calls"]
    assert not evaluation.passed
    rows = evaluation.metadata["rows"]
    assert isinstance(rows, dg.TableMetadataValue)
    (record,) = rows.records
    assert record.data == {"call_id": "call", "duration_s": "7200.0"}
    assert folder.rows("select status from calls") == [("in_progress",)]


def test_rows_of_a_table_materialised_alone_reach_the_other_tables(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """What one table has loaded alone reaches the tables that read it with the next load."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    folder.land([body("b", ENDED, "call", 60)], received_at_us=NOON_US + 1)
    definitions = definitions_of(folder)
    job = definitions.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("events")]).success
    assert folder.rows("select status from calls") == [("in_progress",)]
    folder.sync()
    assert folder.rows("select status from calls") == [("completed",)]


def test_a_select_dropped_into_marts_becomes_an_asset_with_its_lineage(
    own_sql: Path, folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """One SELECT without a header is enough, and it is updated with the tables that it reads."""
    (own_sql / "marts" / "busy_agents.sql").write_text(
        "select agent_id, count(*) as calls from calls group by agent_id\n"
    )
    folder.land([body("a", STARTED, "call-a", 0)])
    folder.sync()
    folder.land([body("b", STARTED, "call-b", 0)], received_at_us=NOON_US + 1)
    load(folder, instance)
    assert folder.rows("from busy_agents") == [("agent", 2)]
    event = instance.get_latest_materialization_event(dg.AssetKey("busy_agents"))
    assert event is not None
    assert event.asset_materialization is not None
    schema = event.asset_materialization.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert [(one.name, one.type) for one in schema.columns] == [("agent_id", "varchar"), ("calls", "bigint")]
    graph = definitions_of(folder).resolve_asset_graph()
    assert graph.get(dg.AssetKey("busy_agents")).parent_keys == {dg.AssetKey("calls")}


def test_compaction_merges_closed_days_and_changes_no_table(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """Every zone has fewer files, what was loaded stays loaded, and a rebuild gives the same tables."""
    zones = [zone for zone in ZONES if zone not in (EVENTS, ACTIONS)]
    for number in range(4):
        folder.land([body(f"trace-{number}", STARTED, f"call-{number}", number)])
        step = StepRow(NOON, "named", f"rule_{number}")
        land_steps(folder.landing, f"actor-{number}", [(0, step)])
        for zone in zones:
            folder.land_answers(zone, [{"call_id": f"call-{number}", "outcome": "failed"}])
    folder.sync()
    before = folder.tables()
    job = definitions_of(folder).resolve_job_def(COMPACT_JOB)
    result = job.execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("compacted_landing")
    assert event.metadata["files_merged"].value == 4 * len(ZONES)
    assert len(list((folder.path / "landing").rglob("*.parquet"))) == len(ZONES)
    assert folder.sync()["events"].files_read == 0
    folder.sync(is_full_refresh=True)
    assert folder.tables() == before
