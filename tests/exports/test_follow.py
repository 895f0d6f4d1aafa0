"""Exports beside follow mode and in Dagster: they follow each publish, and a dead target delays nothing."""

import asyncio
import csv
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from support.data_folder import DataFolder, body, dagster_instance, settings_for
from support.deadline import HANG_S
from support.oracle import STARTED
from support.postgresql import PASSWORD, Database, Server
from support.receiver import until

from connector.settings import Settings
from connector.simulator.api import ApiServer
from pipelines.definitions import build_definitions
from pipelines.enrichment.span import Span
from pipelines.exports.address import Address
from pipelines.names import EXPORT_JOB, LOAD_JOB
from pipelines.runs.execute import RunFailedError
from pipelines.runs.follower import Follower
from pipelines.runs.syncer import Syncer
from pipelines.warehouse.files import NothingPublishedError

pytestmark = pytest.mark.xdist_group("postgresql")

DEAD = "postgresql://verbex:dead-secret@127.0.0.1:1/nowhere"


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path) as instance:
        yield instance


def settings_of(folder: DataFolder, *urls: str) -> Settings:
    return Settings(_env_file=None, data_dir=folder.path, exports=",".join(urls))


async def test_what_a_backfill_publishes_is_exported_too(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer, tmp_path: Path
) -> None:
    """And a target that is down costs nothing of what was read."""
    exports = (SecretStr(f"csv:{tmp_path / 'out'}"), SecretStr(DEAD))
    settings = settings_for(folder, api, exports=exports)
    days = {datetime.fromtimestamp(call.started_us / 1e6, UTC).date() for call in api.world.calls}
    syncer = Syncer(settings, build_definitions(settings), folder, instance)
    swept = await asyncio.to_thread(syncer.backfill, Span(min(days), max(days)))
    assert swept.calls_listed == len(calls_of(folder)) > 0
    with (tmp_path / "out" / "calls.csv").open(encoding="utf-8", newline="") as file:
        assert {row["call_id"] for row in csv.DictReader(file)} == calls_of(folder)


def calls_in(database: Database) -> set[str]:
    there = "select 1 from information_schema.tables where table_schema = 'verbex' and table_name = 'calls'"
    if not database.rows(there):
        return set()
    return {call_id for (call_id,) in database.rows("select call_id from verbex.calls")}


def calls_of(folder: DataFolder) -> set[str]:
    try:
        return {call_id for (call_id,) in folder.rows("select call_id from calls")}
    except NothingPublishedError:
        return set()


def newest(instance: dg.DagsterInstance, url: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(Address(url).name))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


async def test_every_publish_is_exported_and_a_dead_target_delays_nothing(
    folder: DataFolder, instance: dg.DagsterInstance, server: Server, database: Database
) -> None:
    """It is tried again, and catches up by itself when it is back. Dagster gets the counts."""
    said: list[str] = []
    follower = Follower(settings_of(folder, DEAD, database.url), folder, instance, said.append)
    running = threading.Thread(target=follower.run)
    running.start()
    try:
        folder.land([body("a", STARTED, "call-a", 0)])
        await until(lambda: calls_in(database) == {"call-a"})
        server.stop(signal.SIGKILL)
        folder.land([body("b", STARTED, "call-b", 0)])
        await until(lambda: calls_of(folder) == {"call-a", "call-b"})
        server.start()
        await until(lambda: calls_in(database) == {"call-a", "call-b"})
    finally:
        follower.stop()
        running.join(HANG_S)
    assert not running.is_alive()
    shown = newest(instance, database.url)
    assert any(line.startswith(f"The export to {Address(DEAD)} failed: ") for line in said)
    assert "dead-secret" not in str(said)
    assert PASSWORD not in str(said) + str(shown)
    assert {"rows_written", "rows_deleted", "duration_s", "lag_s", "publish"} <= shown.keys()


def test_a_run_shows_what_was_exported_and_a_dead_target_fails_no_table(
    folder: DataFolder, instance: dg.DagsterInstance, database: Database
) -> None:
    """`sync` exports last. It ends with 1 and names the target without its password."""
    folder.land([body("a", STARTED, "call-a", 0)])
    settings = settings_of(folder, DEAD, database.url)
    said: list[str] = []
    with pytest.raises(RunFailedError, match=r"127\.0\.0\.1:1/nowhere can't be used") as caught:
        Syncer(settings, build_definitions(settings), folder, instance).run(said.append)
    assert "dead-secret" not in str(caught.value) + str(said)
    assert calls_in(database) == calls_of(folder) == {"call-a"}
    shown = newest(instance, database.url)
    assert (shown["publish"], shown["rows_deleted"]) == (1, 0)
    assert shown["rows_written"] == sum(
        count
        for table in ("events", "calls", "calls_enriched", "pca_fetches", "agents", "event_fields")
        for (count,) in database.rows(f"select count(*) from verbex.{table}")  # noqa: S608
    ) + sum(
        count
        for table in ("agent_daily", "agent_hourly", "pipeline_status")
        for (count,) in database.rows(f"select count(*) from verbex.{table}")  # noqa: S608
    )
    events = [str(each) for run in instance.get_runs() for each in instance.all_logs(run.run_id)]
    assert "dead-secret" not in str(events)
    assert PASSWORD not in str(events)


def test_dagster_has_an_asset_for_each_target_that_follows_the_publish(folder: DataFolder) -> None:
    """By a stable name without user and password. Loading does not run it."""
    urls = ("postgresql://a:b@h/d?schema=one", "postgresql://h/d?schema=two")
    definitions = build_definitions(settings_of(folder, *urls))
    repository = definitions.get_repository_def()
    names = {"postgresql_h_d_one", "postgresql_h_d_two"}
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} >= names
    for name in names:
        node = graph.get(dg.AssetKey(name))
        assert node.group_name == "exports"
        assert node.automation_condition is not None
        assert {key.to_user_string() for key in node.parent_keys} == {"published_warehouse"}
    assert set(repository.get_job(EXPORT_JOB).asset_layer.selected_asset_keys) == {*map(dg.AssetKey, names)}
    assert not names & {
        key.to_user_string() for key in repository.get_job(LOAD_JOB).asset_layer.selected_asset_keys
    }
    assert EXPORT_JOB not in build_definitions(settings_of(folder)).get_repository_def().job_names


def test_dagsters_own_sensor_asks_for_an_export_once_tables_are_published(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """After a publish, and not before."""
    definitions = build_definitions(settings_of(folder, DEAD))
    first = dg.evaluate_automation_conditions(definitions, instance)
    assert first.total_requested == 0
    instance.report_runless_asset_event(dg.AssetMaterialization("published_warehouse"))
    second = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
    assert second.total_requested == 1
