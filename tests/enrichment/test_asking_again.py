"""Unavailable answers are asked for again on request, from the command line and from Dagster."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.command import Run
from support.data_folder import NOON, DataFolder, bodies_of, settings_for

from connector.landing.zones import AGENTS, CALLS, PCA, Zone
from connector.simulator.api import ApiServer
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.system.lock import hold_lock
from connector.verbex import transport
from pipelines.definitions import build_definitions
from pipelines.enrichment import fetch as fetching
from pipelines.enrichment.due import count_due, list_unavailable
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.span import Span
from pipelines.names import ANSWERS, FETCH_JOB

WORLD = World.build(seed=4, calls=40)
ENDED = {call.call_id for call in WORLD.calls if call.ended_us is not None}
ANALYSED = {call.call_id for call in WORLD.calls if call.has_results}


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


async def fetch(folder: DataFolder, api: ApiServer, *, again: Span | None = None) -> None:
    """Ask once and load the answers."""
    settings = settings_for(folder, api)
    await asyncio.to_thread(fetch_all, settings, folder, again=again)
    await asyncio.to_thread(folder.sync)


async def make_unavailable(folder: DataFolder, api: ApiServer) -> None:
    """Land calls, and let a fetch find nothing about them at Verbex, long after their time limit."""
    folder.land(bodies_of(WORLD))
    folder.sync()
    api.now_us = lambda: 0
    await fetch(folder, api)
    assert set(folder.rows("select distinct pca_status from calls where status = 'completed'")) <= {
        ("unavailable",),
        ("failed",),
    }
    api.now_us = None
    api.requests.clear()


def unavailable_in(folder: DataFolder) -> set[str]:
    rows = folder.rows("select call_id from pca_fetches where state = 'unavailable'")
    return {call_id for (call_id,) in rows}


def results_asked(api: ApiServer) -> set[str]:
    return {request.path.rpartition("/")[2] for request in api.requests if "/results/" in request.path}


async def test_an_unavailable_analysis_that_verbex_made_later_is_loaded_after_ask_again(
    folder: DataFolder, run: Run
) -> None:
    """`ask-again` gets analyses and details. What Verbex still lacks stays unavailable, with one more try."""
    async with ApiServer(WORLD) as api:
        await make_unavailable(folder, api)
        unavailable = unavailable_in(folder)
        assert unavailable >= ANALYSED
        settings = {"VERBEX_API_URL": api.url, "VERBEX_API_KEY": api.api_key, "VERBEX_API_RPS": "10000"}
        done = await asyncio.to_thread(run, "ask-again", **settings)
        assert done.returncode == 0, done.stderr
        asked = f"Asked Verbex {len(unavailable) + len(ENDED)} times: {len(ANALYSED) + len(ENDED)} answered"
        assert asked in done.stdout
        assert results_asked(api) == unavailable
    assert {call_id for (call_id,) in folder.rows("select distinct call_id from pca_items")} == ANALYSED
    assert {call_id for (call_id,) in folder.rows("select call_id from call_details")} == ENDED
    assert unavailable_in(folder) == unavailable - ANALYSED
    tries = "select distinct attempts, next_attempt_at from pca_fetches where state = 'unavailable'"
    assert folder.rows(tries) == [(2, None)]
    assert count_due(folder, datetime.now(UTC)) == 0
    tables = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == tables


async def test_dagsters_launchpad_asks_again_for_the_agents_named(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The job that fetches takes `is_asking_again`, with days and agents that select unavailable calls."""
    agent_id = WORLD.agents[0].agent_id
    chosen = {call.call_id for call in WORLD.calls if call.agent.agent_id == agent_id}
    async with ApiServer(WORLD) as api:
        await make_unavailable(folder, api)
        config = {"is_asking_again": True, "agents": [agent_id]}
        result = await asyncio.to_thread(run_fetch_job, folder, api, instance, config)
        assert result.success
        assert results_asked(api) == unavailable_in(folder) & chosen
    folder.sync()
    fetched = {call_id for (call_id,) in folder.rows("select call_id from pca")}
    assert fetched == chosen & ANALYSED


async def test_what_is_unavailable_is_not_asked_for_without_a_request(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A run of the same job without `is_asking_again` asks for nothing."""
    async with ApiServer(WORLD) as api:
        await make_unavailable(folder, api)
        assert (await asyncio.to_thread(run_fetch_job, folder, api, instance, {})).success
        assert api.request_count() == 0


async def test_days_and_agents_without_is_asking_again_fail_the_run(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer
) -> None:
    """They would select from nothing. The failure names what is missing."""
    result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {"since": "2025-11-10"})
    assert "is_asking_again" in failure_of(result)
    assert api.request_count() == 0


async def test_asking_again_waits_for_a_fetch_and_then_fails(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fetch asks only for what is due. Without an error, the user would not know that."""
    monkeypatch.setattr(fetching, "PATIENCE_S", 0.1)
    folder.sync()
    with hold_lock(folder.path / "fetch.lock"):
        result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {"is_asking_again": True})
    assert "Run this again" in failure_of(result)


async def test_a_fault_is_no_answer_to_asking_again(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the API is down when an unavailable call is asked for again, later fetches ask by themselves."""
    monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)
    async with ApiServer(WORLD) as api:
        await make_unavailable(folder, api)
        unavailable = unavailable_in(folder)
        api.faults = Faults(server_error=1)
        await fetch(folder, api, again=Span())
    assert set(folder.rows("select state, attempts, last_http_status from pca_fetches")) == {
        ("waiting", 2, 500)
    }
    assert {call_id for (call_id,) in folder.rows("select call_id from pca_fetches")} == unavailable


def test_days_select_calls_by_their_start(folder: DataFolder) -> None:
    """Both ends are included. A call whose day is unknown belongs to every day. Agents are not included."""
    folder.land(bodies_of(WORLD))
    folder.land_answers(PCA, [unavailable(call_id) for call_id in (*ENDED, "unknown")])
    folder.land_answers(CALLS, [unavailable(call_id) for call_id in ENDED])
    folder.sync()
    day = date(2025, 11, 10)
    for zone, more in ((PCA, {"unknown"}), (CALLS, set())):
        for span in (Span(), Span(day, day), Span(since=day), Span(until=day)):
            assert ids(folder, zone, span) == ENDED | more
        assert ids(folder, zone, Span(since=date(2025, 11, 11))) == more
        assert ids(folder, zone, Span(agent_ids=("another",))) == set()
    assert ids(folder, AGENTS, Span()) == set()


def unavailable(call_id: str) -> dict[str, Any]:
    return {"call_id": call_id, "outcome": "unavailable", "attempted_at": NOON + timedelta(days=2)}


def ids(folder: DataFolder, zone: Zone, span: Span) -> set[str]:
    return {due.call_id for due in list_unavailable(folder, zone, span)}


async def test_a_landing_that_can_not_be_written_fails_the_run_with_a_message(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer
) -> None:
    """If the disk is full, for example, the failure names the folder, the cause and the next step."""
    folder.land(bodies_of(WORLD))
    folder.sync()
    (folder.path / "landing" / "pca").write_text("a file where the folder should be")
    result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {})
    assert "landing can't store what Verbex answers" in failure_of(result)


def run_fetch_job(
    folder: DataFolder, api: ApiServer, instance: dg.DagsterInstance, config: dict[str, Any]
) -> dg.ExecuteInProcessResult:
    """Run the job as the launchpad does."""
    job = build_definitions(settings_for(folder, api)).resolve_job_def(FETCH_JOB)
    run_config = {"ops": {ANSWERS: {"config": config}}} if config else None
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return failure.step_failure_data.error_display_string
