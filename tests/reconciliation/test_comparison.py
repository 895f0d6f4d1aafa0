"""Our tables against Verbex's own list: lost events are named exactly, and a backfill repairs them."""

import asyncio
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.data_folder import NOON_US, DataFolder, body, settings_for
from support.oracle import ENDED, STARTED

from connector.fetch.listing import daily_windows, sweep_calls
from connector.landing.zones import CALLS, LISTED, PCA
from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.enrichment.due import list_due
from pipelines.enrichment.fetch import fetch_all

START = datetime(2025, 11, 10, tzinfo=UTC)
SWEPT_AT = datetime(2025, 11, 9, 12, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World.build(seed=8, calls=150)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


async def sweep(folder: DataFolder, api: ApiServer, *, is_backfill: bool = False) -> None:
    """List two days at Verbex and bring the tables up to date."""
    await sweep_calls(
        daily_windows(START, START + timedelta(days=2)),
        settings=settings_for(folder, api),
        landing=folder.landing,
        rng=random.Random(api.request_count()),
        is_backfill=is_backfill,
    )
    folder.sync()


def lose_some(folder: DataFolder, world: World) -> dict[str, set[str]]:
    """Land nine of ten events, and each announced analysis. Return the names of the landed events by call."""
    reported: dict[str, set[str]] = {call.call_id: set() for call in world.calls}
    delivered = [delivery.event for delivery in world.deliveries(losses=0.1)]
    for event in delivered:
        if event.call_id is not None:
            reported[event.call_id].add(event.name)
    folder.land([event.body for event in delivered])
    announced = [call_id for call_id, names in reported.items() if "callAnalysis.pcaCompleted" in names]
    answer = {"attempted_at": SWEPT_AT + timedelta(hours=1), "body": b'{"items":[]}'}
    folder.land_answers(PCA, [{**answer, "call_id": call_id} for call_id in announced])
    folder.sync()
    return reported


def expected_drift(world: World, reported: dict[str, set[str]]) -> dict[str, str]:
    """Return the calls with lost events, and the kind of difference that is shown first for each."""
    drift = {}
    for call in world.calls:
        names = reported[call.call_id]
        if not names:
            drift[call.call_id] = "missing_here"
        elif STARTED not in names:
            drift[call.call_id] = "different_start"
        elif call.ended_us is not None and ENDED not in names:
            drift[call.call_id] = "different_end"
        elif call.ended_us is not None and "callAnalysis.pcaCompleted" not in names:
            drift[call.call_id] = "pca_missing"
    return drift


async def test_a_comparison_names_exactly_the_calls_with_lost_events(
    folder: DataFolder, world: World
) -> None:
    """If one webhook in ten is lost, each lost start, end and announcement is found, and nothing else."""
    reported = lose_some(folder, world)
    before = folder.rows("from calls order by all")
    async with ApiServer(world) as api:
        await sweep(folder, api)
    expected = expected_drift(world, reported)
    assert dict(folder.rows("select call_id, kind from call_drift")) == expected
    assert set(expected.values()) == {"missing_here", "different_start", "different_end", "pca_missing"}
    assert folder.rows("from calls order by all") == before


async def test_completeness_counts_both_sides_of_every_agent_and_day(
    folder: DataFolder, world: World
) -> None:
    """The counts add up to the calls in our tables and to those at Verbex."""
    reported = lose_some(folder, world)
    async with ApiServer(world) as api:
        await sweep(folder, api)
    here = sum(bool(names) for names in reported.values())
    assert folder.rows(
        "select sum(calls_there)::int, sum(calls_here)::int, sum(calls_both)::int from completeness_daily"
    ) == [(len(world.calls), here, here)]
    assert folder.rows(
        "select count(*) from completeness_daily where complete_percent <> 100.0 * calls_both / calls_there"
    ) == [(0,)]


async def test_a_backfill_repairs_what_was_lost_and_then_both_agree(folder: DataFolder, world: World) -> None:
    """Every start and end is there, with its source, and analyses become due by themselves."""
    reported = lose_some(folder, world)
    async with ApiServer(world) as api:
        await sweep(folder, api, is_backfill=True)
        assert {row[0]: row[1:] for row in calls_of(folder)} == {
            call.call_id: expected_life(call, reported[call.call_id]) for call in world.calls
        }
        settings = settings_for(folder, api)
        await asyncio.to_thread(fetch_all, settings, folder)
        folder.sync()
        await sweep(folder, api)
    assert folder.rows("from call_drift") == []
    assert folder.rows("select distinct complete_percent from completeness_daily") == [(100.0,)]


async def test_calls_that_a_backfill_listed_in_full_are_not_asked_for_one_by_one(
    folder: DataFolder, world: World
) -> None:
    """Their details equal the API's answer about a single call, and only analyses are asked for."""
    async with ApiServer(world) as api:
        await sweep(folder, api, is_backfill=True)
        settings = settings_for(folder, api)
        await asyncio.to_thread(fetch_all, settings, folder)
        assert {request.path for request in api.requests if request.path.startswith("/v1/")} == {"/v1/calls/"}
    details = {
        call_id: json.loads(text) for call_id, text in folder.rows("select call_id, body from call_details")
    }
    assert details == {
        call.call_id: {name: value for name, value in world.details(call).items() if name != "access_token"}
        for call in world.calls
        if call.ended_us is not None
    }
    assert folder.rows("select count(*) from call_messages where text = 'Great (thanks) - bye!'") == [
        (len(details),)
    ]


def test_calls_listed_in_part_or_too_early_are_asked_for(folder: DataFolder) -> None:
    """Details stay due if the list lacks a transcript, if the call ended just before, or after comparing."""
    at_s = (SWEPT_AT - EPOCH).total_seconds()
    whole: dict[str, Any] = {"messages": []}
    in_part, early = listed("in part", 0, 60), listed("early", at_s - 90, at_s - 60) | whole
    land_sweep(folder, [in_part, early, listed("whole", 0, 60) | whole], outcome="backfilled")
    folder.land([body("end", ENDED, "compared", 60)])
    land_sweep(folder, [listed("compared", 0, 60) | whole])
    folder.sync()
    due = list_due(folder, CALLS, SWEPT_AT)
    assert {call.call_id for call in due} == {"in part", "early", "compared"}
    assert folder.rows("select call_id from call_details") == [("whole",)]


async def test_with_backfilled_calls_a_full_refresh_changes_nothing(folder: DataFolder, world: World) -> None:
    """A comparison, a backfill and then late webhooks give the same tables as one build."""
    bodies = [delivery.event.body for delivery in world.deliveries()]
    folder.land(bodies[::2])
    folder.sync()
    async with ApiServer(world) as api:
        await sweep(folder, api)
        await sweep(folder, api, is_backfill=True)
    folder.land(bodies[1::2], received_at_us=NOON_US + 3600 * 1_000_000)
    folder.sync()
    before = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == before


def test_a_late_webhook_replaces_what_a_backfill_reported(folder: DataFolder) -> None:
    """The row has its value, and `webhook` as the source."""
    land_sweep(folder, [listed("c", 0, 60)], outcome="backfilled")
    folder.sync()
    sources = "select started_source, ended_source, duration_s from calls"
    assert folder.rows(sources) == [("api", "api", 60.0)]
    folder.land([body("end", ENDED, "c", 61)])
    folder.sync()
    assert folder.rows(sources) == [("api", "webhook", 61.0)]


def test_a_call_that_verbex_no_longer_lists_is_missing_there(folder: DataFolder) -> None:
    """The newest sweep that covers the call decides. A sweep of another agent's calls does not."""
    folder.land([body("start", STARTED, "c", 0), body("end", ENDED, "c", 60)])
    land_sweep(folder, [listed("c", 0, 60)])
    land_sweep(folder, [], later_s=600, agent_ids=["another"])
    folder.sync()
    assert folder.rows("select kind from call_drift where kind = 'missing_there'") == []
    land_sweep(folder, [], later_s=1200)
    folder.sync()
    assert folder.rows("select call_id, kind from call_drift") == [("c", "missing_there")]


def test_what_ended_minutes_before_may_still_be_on_its_way(folder: DataFolder) -> None:
    """Such a call differs and is marked as in flight. A call that ended earlier is not marked."""
    at_s = (SWEPT_AT - EPOCH).total_seconds()
    land_sweep(folder, [listed("new", at_s - 400, at_s - 200), listed("old", at_s - 900, at_s - 400)])
    folder.sync()
    assert dict(folder.rows("select call_id, is_in_flight from call_drift")) == {"new": True, "old": False}


def test_an_analysis_that_verbex_has_not_made_yet_is_on_its_way(folder: DataFolder) -> None:
    """This holds if Verbex was asked and had none. If a fetch failed or never asked, it counts as missing."""
    land_sweep(folder, [listed(name, 0, 60) for name in ("none yet", "failed", "never asked")])
    for name in ("none yet", "failed", "never asked"):
        folder.land([body(f"start {name}", STARTED, name, 0), body(f"end {name}", ENDED, name, 60)])
    for outcome, name in (("failed", "none yet"), ("pending", "none yet"), ("pending", "failed")):
        folder.land_answers(PCA, [{"call_id": name, "outcome": outcome}])
    folder.land_answers(PCA, [{"call_id": "failed", "outcome": "failed"}])
    folder.sync()
    assert dict(folder.rows("select call_id, is_in_flight from call_drift where kind = 'pca_missing'")) == {
        "none yet": True,
        "failed": False,
        "never asked": False,
    }


EPOCH = datetime.fromtimestamp(1_762_600_000, UTC)
"""The moment that the seconds of `body` count from."""


def listed(call_id: str, started_s: float, ended_s: float) -> dict[str, Any]:
    """Build one call as Verbex lists it. Times are seconds after `EPOCH`."""
    start, end = (EPOCH + timedelta(seconds=seconds) for seconds in (started_s, ended_s))
    return {"_id": call_id, "call_start_time": start.isoformat(), "call_end_time": end.isoformat()}


def land_sweep(
    folder: DataFolder,
    calls: Iterable[dict[str, Any]],
    *,
    outcome: str = "listed",
    later_s: float = 0,
    agent_ids: Iterable[str] = (),
) -> None:
    """Land the result of a sweep of the days around `EPOCH`."""
    at = SWEPT_AT + timedelta(seconds=later_s)
    window = {
        "since": "2025-11-08T00:00:00Z",
        "until": "2025-11-10T00:00:00Z",
        "agent_ids": list(agent_ids),
        "calls": 0,
        "is_backfill": outcome == "backfilled",
    }
    rows: list[dict[str, Any]] = [
        {"call_id": call["_id"], "outcome": outcome, "body": json.dumps(call).encode()} for call in calls
    ]
    rows.append({"call_id": "", "agent_id": None, "outcome": "swept", "body": json.dumps(window).encode()})
    folder.land_answers(LISTED, [{**row, "attempted_at": at} for row in rows])


def calls_of(folder: DataFolder) -> list[tuple[Any, ...]]:
    return folder.rows(
        "select call_id, epoch_us(started_at), started_source, epoch_us(ended_at), ended_source, agent_id "
        "from calls"
    )


def expected_life(call: Any, names: set[str]) -> tuple[Any, ...]:  # noqa: ANN401
    """Return what is known about a call after a backfill: from webhooks first, or else from the API."""
    ended_source = "webhook" if ENDED in names else "api"
    return (
        call.started_us,
        "webhook" if STARTED in names else "api",
        call.ended_us,
        None if call.ended_us is None else ended_source,
        call.agent.agent_id,
    )
