"""`verify` and `backfill` as Dagster's jobs: they ask first, then load, and show what they found."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr
from support.data_folder import DataFolder, settings_for

from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.definitions import build_definitions
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.span import Span
from pipelines.names import (
    AGREEMENT,
    AGREEMENT_CHECK,
    ANSWERS,
    BACKFILL_JOB,
    FETCH_JOB,
    KEY_CHECK,
    SWEEP,
    VERIFY_JOB,
)
from pipelines.reconciliation import sweep as sweeping
from pipelines.reconciliation.sweep import SweepBusyError, sweep_span
from pipelines.resources import WarehouseResource

DAY = date(2025, 11, 10)
HOLD = """
import sys
from pathlib import Path
from connector.system.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_job(
    name: str, settings: Settings, instance: dg.DagsterInstance, **config: object
) -> dg.ExecuteInProcessResult:
    """Run a job as the UI does. `config` is the configuration of the step that asks."""
    job = build_definitions(settings, WarehouseResource.from_settings(settings)).resolve_job_def(name)
    run_config = {"ops": {SWEEP: {"config": config}}} if config else None
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def agreement_of(result: dg.ExecuteInProcessResult) -> tuple[dg.AssetCheckEvaluation, dict[str, Any]]:
    """Return the check of a verify run, and the metadata of its asset."""
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == AGREEMENT_CHECK]
    [shown] = result.asset_materializations_for_node(AGREEMENT)
    return check, {name: value.value for name, value in shown.metadata.items()}


async def test_lost_webhooks_fail_the_check_until_a_backfill_and_a_fetch_repaired_them(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The check shows the calls that differ. After the repair it passes, and everything is complete."""
    world = World.build(seed=5, calls=40)
    folder.land([delivery.event.body for delivery in world.deliveries(losses=0.1)])
    days = {"since": str(DAY), "until": str(DAY)}
    async with ApiServer(world) as api:
        settings = settings_for(folder, api)
        check, shown = agreement_of(await asyncio.to_thread(run_job, VERIFY_JOB, settings, instance, **days))
        assert not check.passed
        rows = check.metadata["rows"]
        assert isinstance(rows, dg.TableMetadataValue)
        listed = {record.data["call_id"] for record in rows.records}
        assert listed == {call_id for (call_id,) in folder.rows("select call_id from call_drift")}
        assert shown["calls_that_differ"] == len(listed)
        assert 90 < shown["complete_percent"] <= 100
        for job, config in ((BACKFILL_JOB, days | {"is_backfill": True}), (FETCH_JOB, {})):
            assert (await asyncio.to_thread(run_job, job, settings, instance, **config)).success
        check, shown = agreement_of(await asyncio.to_thread(run_job, VERIFY_JOB, settings, instance, **days))
    assert check.passed
    assert (shown["calls_that_differ"], shown["complete_percent"]) == (0, 100)


async def test_a_run_asks_before_it_loads(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer
) -> None:
    """So no step locks the warehouse while Verbex is asked. Without given days, the run asks for two."""
    result = await asyncio.to_thread(run_job, VERIFY_JOB, settings_for(folder, api), instance)
    assert result.success
    starts = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
    assert starts[0].step_key == SWEEP
    [swept] = result.asset_materializations_for_node(SWEEP)
    assert swept.metadata["days_read"].value == 2


@pytest.mark.parametrize(("since", "until"), [("2025-13-01", ""), ("", "yesterday")])
def test_a_text_that_is_not_a_day_fails_the_run(
    folder: DataFolder, instance: dg.DagsterInstance, since: str, until: str
) -> None:
    """Nothing is asked, and the failure shows the text."""
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=SecretStr("key"))
    result = run_job(VERIFY_JOB, settings, instance, since=since, until=until)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert (since or until) in failure.step_failure_data.error_display_string


def test_without_a_key_nothing_is_asked_and_the_schedules_stay_off(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A run succeeds and a check gives the reason. The nightly runs are skipped with the reason."""
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    result = run_job(VERIFY_JOB, settings, instance)
    assert result.success
    assert not any(one.passed for one in result.get_asset_check_evaluations() if one.check_name == KEY_CHECK)
    with_key = settings.model_copy(update={"api_key": SecretStr("key")})
    for name in ("nightly_verify", "nightly_backfill"):
        assert tick(settings, name, instance).skip_message == (
            "VERBEX_API_KEY is not set, so Verbex can't be asked."
        )
        assert len(tick(with_key, name, instance).run_requests or ()) == 1


def tick(settings: Settings, name: str, instance: dg.DagsterInstance) -> Any:  # noqa: ANN401
    """Return what a schedule decides."""
    schedule = build_definitions(settings).resolve_schedule_def(name)
    with dg.build_schedule_context(instance) as context:
        return schedule.evaluate_tick(context)


def test_a_backfill_run_repairs_by_default() -> None:
    """The job's own configuration has `is_backfill`. Its days are those of any other sweep."""
    definitions = build_definitions(Settings(_env_file=None, api_key=None))
    preset = definitions.resolve_job_def(BACKFILL_JOB).run_config
    span = {"since": "", "until": "", "agents": []}
    assert preset == {"ops": {SWEEP: {"config": {"is_backfill": True, **span}}}}


async def test_a_second_sweep_stops_and_names_the_process_that_is_asking(
    folder: DataFolder, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits first. Two sweeps never ask at the same time, and a fetch does not wait for a sweep."""
    monkeypatch.setattr(sweeping, "PATIENCE_S", 0.2)
    settings = settings_for(folder, api)
    with holding(folder.path / "sweep.lock") as holder:
        with pytest.raises(SweepBusyError, match=f"Process {holder} has been listing.*again"):
            sweep_span(settings, folder, Span(DAY, DAY), is_backfill=False)
        fetch_all(settings, folder)
    assert api.request_count() == 0
    swept = await asyncio.to_thread(sweep_span, settings, folder, Span(DAY, DAY), is_backfill=False)
    assert swept.calls_listed == 30


async def test_days_to_come_are_not_asked_for(folder: DataFolder, api: ApiServer) -> None:
    """So `--until 9999-12-31` can be used for no end."""
    settings = settings_for(folder, api)
    span = Span(datetime.now(UTC).date(), date.max)
    swept = await asyncio.to_thread(sweep_span, settings, folder, span, is_backfill=True)
    assert 1 <= swept.days_read <= 2  # two around midnight


@contextmanager
def holding(path: Path) -> Iterator[int]:
    """Let another process hold a lock during the block, and yield its id."""
    path.parent.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize("name", [VERIFY_JOB, BACKFILL_JOB, FETCH_JOB])
def test_a_launchpad_shows_every_field_and_the_page_of_its_job_explains_it(tmp_path: Path, name: str) -> None:
    """Where a job has a config of its own, the launchpad shows that and no other field."""
    job = build_definitions(Settings(_env_file=None, data_dir=tmp_path)).resolve_job_def(name)
    (step,) = (op for op in job.nodes_in_topological_order if op.name in (SWEEP, ANSWERS))
    schema: Any = step.definition.config_schema
    fields = schema.as_field().config_type.fields
    preset = (job.run_config or {}).get("ops", {}).get(step.name, {}).get("config", dict.fromkeys(fields))
    assert set(preset) == set(fields)
    assert all(field.description for field in fields.values())
    for field in ("since", "until", "agents"):
        assert f"`{field}`" in str(job.description)
