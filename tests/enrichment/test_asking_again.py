"""What was given up is asked for again when somebody says so, from the command line and from Dagster."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.command import Run
from support.data_folder import NOON, DataFolder, bodies_of, dagster_instance, settings_for

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
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path) as instance:
        yield instance


async def fetch(folder: DataFolder, api: ApiServer, *, again: Span | None = None) -> None:
    """Ask once and load the answers."""
    settings = settings_for(folder, api)
    await asyncio.to_thread(fetch_all, settings, folder, again=again)
    await asyncio.to_thread(folder.sync)


async def give_up(folder: DataFolder, api: ApiServer) -> None:
    """Have Verbex know nothing of any call until the time to give up was long over."""
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


def given_up(folder: DataFolder) -> set[str]:
    rows = folder.rows("select call_id from pca_fetches where state = 'unavailable'")
    return {call_id for (call_id,) in rows}


def results_asked(api: ApiServer) -> set[str]:
    return {request.path.rpartition("/")[2] for request in api.requests if "/results/" in request.path}


async def test_an_analysis_that_comes_after_it_was_given_up_is_there_once_it_is_asked_for_again(
    folder: DataFolder, run: Run
) -> None:
    """`ask-again` brings analyses and details in; what Verbex still lacks stays given up, one try more."""
    async with ApiServer(WORLD) as api:
        await give_up(folder, api)
        unavailable = given_up(folder)
        assert unavailable >= ANALYSED
        settings = {"VERBEX_API_URL": api.url, "VERBEX_API_KEY": api.api_key, "VERBEX_API_RPS": "10000"}
        done = await asyncio.to_thread(run, "ask-again", **settings)
        assert done.returncode == 0, done.stderr
        told = f"Asked Verbex {len(unavailable) + len(ENDED)} times: {len(ANALYSED) + len(ENDED)} answered"
        assert told in done.stdout
        assert results_asked(api) == unavailable
    assert {call_id for (call_id,) in folder.rows("select distinct call_id from pca_items")} == ANALYSED
    assert {call_id for (call_id,) in folder.rows("select call_id from call_details")} == ENDED
    assert given_up(folder) == unavailable - ANALYSED
    tries = "select distinct attempts, next_attempt_at from pca_fetches where state = 'unavailable'"
    assert folder.rows(tries) == [(2, None)]
    assert count_due(folder, datetime.now(UTC)) == 0
    tables = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == tables


async def test_dagsters_launchpad_asks_again_for_the_agents_named(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The job that fetches takes `is_asking_again`, and days and agents to choose among those given up."""
    agent_id = WORLD.agents[0].agent_id
    chosen = {call.call_id for call in WORLD.calls if call.agent.agent_id == agent_id}
    async with ApiServer(WORLD) as api:
        await give_up(folder, api)
        config = {"is_asking_again": True, "agents": [agent_id]}
        result = await asyncio.to_thread(run_fetch_job, folder, api, instance, config)
        assert result.success
        assert results_asked(api) == given_up(folder) & chosen
    folder.sync()
    fetched = {call_id for (call_id,) in folder.rows("select call_id from pca")}
    assert fetched == chosen & ANALYSED


async def test_what_was_given_up_is_left_alone_unless_somebody_asks(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A run of the same job without a word asks for nothing."""
    async with ApiServer(WORLD) as api:
        await give_up(folder, api)
        assert (await asyncio.to_thread(run_fetch_job, folder, api, instance, {})).success
        assert api.request_count() == 0


async def test_days_and_agents_without_the_word_fail_the_run(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer
) -> None:
    """They would choose among nothing; the failure says what is missing."""
    result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {"since": "2025-11-10"})
    assert "is_asking_again" in failure_of(result)
    assert api.request_count() == 0


async def test_asking_again_waits_for_a_fetch_and_then_says_who_is_fetching(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fetch asks only for what is due, so stepping back in silence would leave it unasked."""
    monkeypatch.setattr(fetching, "PATIENCE_S", 0.1)
    folder.sync()
    with hold_lock(folder.path / "fetch.lock"):
        result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {"is_asking_again": True})
    assert "Run this again" in failure_of(result)


async def test_a_fault_is_no_answer_to_asking_again(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call given up after one try, and asked again while the API is down, is asked on by itself."""
    monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)
    async with ApiServer(WORLD) as api:
        await give_up(folder, api)
        unavailable = given_up(folder)
        api.faults = Faults(server_error=1)
        await fetch(folder, api, again=Span())
    assert set(folder.rows("select state, attempts, last_http_status from pca_fetches")) == {
        ("waiting", 2, 500)
    }
    assert {call_id for (call_id,) in folder.rows("select call_id from pca_fetches")} == unavailable


def test_days_choose_by_the_start_of_the_call(folder: DataFolder) -> None:
    """Both ends are included; calls of which nobody told a day are of every day; agents need not be asked."""
    folder.land(bodies_of(WORLD))
    folder.land_answers(PCA, [unavailable(call_id) for call_id in (*ENDED, "unknown")])
    folder.land_answers(CALLS, [unavailable(call_id) for call_id in ENDED])
    folder.sync()
    day = date(2025, 11, 10)
    for zone, more in ((PCA, {"unknown"}), (CALLS, set())):
        for span in (Span(), Span(day, day), Span(since=day), Span(until=day)):
            assert ids(folder, zone, span) == ENDED | more
        assert ids(folder, zone, Span(since=date(2025, 11, 11))) == more
        assert ids(folder, zone, Span(agent_ids=("nobody",))) == set()
    assert ids(folder, AGENTS, Span()) == set()


def unavailable(call_id: str) -> dict[str, Any]:
    return {"call_id": call_id, "outcome": "unavailable", "attempted_at": NOON + timedelta(days=2)}


def ids(folder: DataFolder, zone: Zone, span: Span) -> set[str]:
    return {due.call_id for due in list_unavailable(folder, zone, span)}


async def test_a_landing_that_can_not_be_written_is_told_in_words(
    folder: DataFolder, instance: dg.DagsterInstance, api: ApiServer
) -> None:
    """As a full disk is: the run's failure says where, why and what then."""
    folder.land(bodies_of(WORLD))
    folder.sync()
    (folder.path / "landing" / "pca").write_text("a file where the folder should be")
    result = await asyncio.to_thread(run_fetch_job, folder, api, instance, {})
    assert "landing can't take what Verbex answers" in failure_of(result)


def run_fetch_job(
    folder: DataFolder, api: ApiServer, instance: dg.DagsterInstance, config: dict[str, Any]
) -> dg.ExecuteInProcessResult:
    """A run as the launchpad starts one."""
    job = build_definitions(settings_for(folder, api)).resolve_job_def(FETCH_JOB)
    run_config = {"ops": {ANSWERS: {"config": config}}} if config else None
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return failure.step_failure_data.error_display_string
