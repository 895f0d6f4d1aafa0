"""Rules as Dagster shows them: what was sent, what a person must look at, and when a run is started."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.acting import act, act_on, acting, call, later, settings_of, write_rule
from support.actions import SECRET
from support.data_folder import DataFolder
from support.deadline import HANG_S

from connector.landing.zones import ACTIONS
from connector.settings import Settings
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from connector.system.lock import hold_lock
from pipelines.actions.due import has_work
from pipelines.actions.paths import lock_of, state_dir_of
from pipelines.actions.pause import pause, resume
from pipelines.actions.step_log import StepLog
from pipelines.actions.steps import StepRow
from pipelines.definitions import build_definitions
from pipelines.models.rule_files import list_rules
from pipelines.models.sql_file import ModelError, sql_folder
from pipelines.names import ACT_JOB, ACTION_CHECK, LOAD_JOB, action_asset
from pipelines.resources import WarehouseResource
from pipelines.warehouse.session import open_session

ASSET = dg.AssetKey("actions_of_mine")
CHECK = dg.AssetCheckKey(ASSET, ACTION_CHECK)
FAILING = """-- A test.
--
-- action: http
-- once per: call_id
select call_id, call_id::integer as number, ended_at as happened_at from calls where ended_at is not null
"""
WITHOUT_TIME = """-- A test.
--
-- action: http
-- once per: call_id
select call_id, 'yesterday' as happened_at from calls where ended_at is not null
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A folder in which a rule of a customer's own acts."""
    write_rule(tmp_path / "own")
    return acting(tmp_path / "data", "mine", own=tmp_path / "own")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def definitions_of(folder: DataFolder, settings: Settings) -> dg.Definitions:
    return build_definitions(settings, WarehouseResource(folder))


async def run_actions(folder: DataFolder, settings: Settings, instance: dg.DagsterInstance) -> dict[str, Any]:
    """Run the job that acts, and return what the asset of the rule shows."""
    job = definitions_of(folder, settings).resolve_job_def(ACT_JOB)
    result = await asyncio.to_thread(job.execute_in_process, instance=instance)
    (event,) = result.get_asset_materialization_events()
    return {
        name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
    }


def land(folder: DataFolder, *numbers: int) -> None:
    """Land calls that end now, and load them."""
    folder.land([body for number in numbers for body in call(number, later(-60))])
    folder.sync(published_at=datetime.now(UTC))


def wants_run(folder: DataFolder, settings: Settings, instance: dg.DagsterInstance) -> bool:
    """Return whether the sensor requests a run. Its first look is the one of a daemon that just started."""
    definitions = definitions_of(folder, settings)
    resources = {"warehouse": WarehouseResource(folder)}
    with dg.build_sensor_context(
        instance=instance, definitions=definitions, resources=resources, cursor=None
    ) as context:
        return bool(definitions.resolve_sensor_def("wanted_actions").evaluate_tick(context).run_requests)


def has_passed(instance: dg.DagsterInstance) -> bool:
    """Return whether the newest result of the check passed."""
    record = instance.get_latest_asset_check_evaluation_record(CHECK)
    assert record is not None
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data.passed


def load_what_can_be(folder: DataFolder) -> None:
    """Load what landed into every table that does not fail."""
    with open_session(folder) as session:
        for model in session.models:
            with suppress(ModelError):
                session.update(model)
        session.publish(datetime.now(UTC))


def settle(folder: DataFolder) -> None:
    """Land that a person has settled every action that failed, and load it."""
    log = StepLog(state_dir_of(folder), folder.landing, "person")
    at = datetime.now(UTC)
    failed = folder.rows("select action_id, identity, steps from actions where state = 'failed'")
    log.append(
        [
            StepRow(at, "settled", "mine", action_id, steps + 1, identity=identity, error="done by hand")
            for action_id, identity, steps in failed
        ]
    )
    log.land()
    folder.sync(published_at=at)


def test_the_graph_leads_from_the_tables_over_the_rule_to_what_it_set_off(folder: DataFolder) -> None:
    """A rule is a table that is published like any other; acting comes after the publish."""
    definitions = definitions_of(folder, settings_of(folder))
    graph = definitions.resolve_asset_graph()
    rule, acted = graph.get(dg.AssetKey("mine")), graph.get(ASSET)
    assert rule.group_name == "rules"
    assert rule.parent_keys == {dg.AssetKey("calls")}
    assert acted.group_name == "actions"
    assert acted.parent_keys == {dg.AssetKey("mine"), dg.AssetKey("published_warehouse")}
    assert dg.AssetKey("mine") in graph.get_ancestor_asset_keys(dg.AssetKey("published_warehouse"))
    assert graph.get(dg.AssetKey("action_steps")).parent_keys == {dg.AssetKey(ACTIONS.relation)}
    assert ASSET not in definitions.resolve_job_def(LOAD_JOB).asset_layer.executable_asset_keys


def test_without_a_rule_there_is_no_asset_no_job_and_no_sensor(tmp_path: Path) -> None:
    """Rules are off until they are named."""
    folder = acting(tmp_path / "data")
    definitions = definitions_of(folder, settings_of(folder))
    assert not [
        key for key in definitions.resolve_asset_graph().get_all_asset_keys() if "actions_of" in str(key)
    ]
    assert ACT_JOB not in {job.name for job in definitions.resolve_all_job_defs()}


async def test_a_run_sends_and_its_check_fails_until_a_person_has_settled_what_failed(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The numbers are of the run, and the check is of all actions. Settling needs no run."""
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        assert not wants_run(folder, settings, instance)  # nothing is published yet
        await act_on(settings, folder, [])
        assert not wants_run(folder, settings, instance)
        land(folder, 1, 2)
        assert wants_run(folder, settings, instance)
        shown = await run_actions(folder, settings, instance)
        assert (shown["sent"], shown["failed"], shown["tried"], shown["held"]) == (2, 0, 0, 0)
        assert 0 < shown["median_delay_s"] <= shown["longest_delay_s"] < HANG_S
        assert has_passed(instance)
        assert not wants_run(folder, settings, instance)  # what was done is not loaded yet
        folder.sync(published_at=datetime.now(UTC))
        assert not wants_run(folder, settings, instance)
    async with DestinationServer(SECRET) as strict:
        settings = settings_of(folder, MINE_URL=strict.url)
        land(folder, 3)
        shown = await run_actions(folder, settings, instance)
        assert (shown["sent"], shown["failed"]) == (0, 1)
    assert "median_delay_s" not in shown
    for _ in range(2):
        assert not wants_run(folder, settings, instance)
        assert not has_passed(instance)
        folder.sync(published_at=datetime.now(UTC))
    settle(folder)
    assert not wants_run(folder, settings, instance)
    assert has_passed(instance)


async def test_no_run_is_started_for_what_can_only_be_held_again(tmp_path: Path) -> None:
    """It is held beyond a limit, or without a destination, for as long as that stays so."""
    write_rule(tmp_path / "own", name="limited", more="-- at most: 1 per hour\n")
    write_rule(tmp_path / "own", name="nowhere")
    folder = acting(tmp_path / "data", "limited", "nowhere", own=tmp_path / "own")
    async with DestinationServer() as destination:
        settings = settings_of(folder, LIMITED_URL=destination.url)
        await act_on(settings, folder, [])
        await act_on(settings, folder, [body for number in (1, 2) for body in call(number, later())])
    states = dict(folder.rows("select rule || ' ' || state, count(*) from actions group by 1"))
    assert states == {"limited sent": 1, "limited held": 1, "nowhere held": 2}
    soon = datetime.now(UTC) + timedelta(minutes=2)
    assert not has_work(settings, folder, soon)
    assert has_work(settings, folder, soon + timedelta(hours=1))
    assert has_work(
        settings_of(folder, LIMITED_URL="http://a.test", NOWHERE_URL="http://a.test"), folder, soon
    )


async def test_no_run_is_started_for_a_rule_that_can_not_act_or_for_what_waits_behind_another(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    write_rule(tmp_path / "own", name="failing", text=FAILING)
    write_rule(tmp_path / "own", name="without_time", text=WITHOUT_TIME)
    rules = ("failing", "without_time", "call_states")
    folder = acting(tmp_path / "data", *rules, own=tmp_path / "own")
    async with DestinationServer(faults=Faults(server_error=1)) as down:
        settings = settings_of(folder, CALL_STATES_URL=down.url)
        folder.land(call(0, later(-60)))
        for _ in range(2):
            load_what_can_be(folder)
            await act(settings, folder)
        folder.land(call(1, later()))
        load_what_can_be(folder)
        assert wants_run(folder, settings, instance)
        await act(settings, folder)
        load_what_can_be(folder)
        assert folder.rows("select state, attempts from actions order by 2") == [("due", 0), ("due", 1)]
        assert not wants_run(folder, settings, instance)
        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert has_work(settings, folder, soon)
        down.faults = Faults()
        await act(settings, folder, lambda: soon)
        assert len(down.handled) == 2
        assert not has_work(settings, folder, soon)  # what was done is not loaded yet


async def test_no_run_is_started_while_actions_are_paused_or_another_process_acts(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await act_on(settings, folder, [])
        land(folder, 1)
        assert wants_run(folder, settings, instance)
        pause(folder.path, datetime.now(UTC))
        assert not wants_run(folder, settings, instance)
        await run_actions(folder, settings, instance)
        assert destination.requests == []
        assert resume(folder.path)
        with hold_lock(lock_of(folder)):
            assert not wants_run(folder, settings, instance)
        assert wants_run(folder, settings, instance)


def test_dagster_loads_the_whole_graph_with_every_rule_named(tmp_path: Path) -> None:
    rules = tuple(list_rules(sql_folder()))
    settings = Settings(_env_file=None, data_dir=tmp_path, actions=rules)
    repository = build_definitions(settings).get_repository_def()
    repository.load_all_definitions()  # as a code server does: names of steps must not meet
    assets = repository.assets_defs_by_key
    assert {dg.AssetKey(action_asset(rule)) for rule in rules} <= assets.keys()
