"""Sweeping Verbex's list of calls into landing: complete, exact at the bounds, resumable."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from connector.fetch.listing import SweepSummary, Window, daily_windows, sweep_calls
from connector.landing.files import Landing
from connector.landing.zones import ANSWER_SCHEMA, LISTED
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.details import ACCESS_TOKEN_MARK
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.verbex import transport
from connector.verbex.answer import ApiUnavailableError

START = datetime(2025, 11, 10, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


async def sweep(api: ApiServer, landing: Landing, windows: list[Window]) -> SweepSummary:
    settings = Settings(_env_file=None, api_url=api.url, api_key=DEFAULT_API_KEY, api_rps=10_000)
    return await sweep_calls(
        windows, settings=settings, landing=landing, rng=random.Random(api.request_count())
    )


def rows_of(landing: Landing, outcome: str) -> list[dict[str, Any]]:
    files = landing.list_files(LISTED)
    rows = [row for file in files for row in landing.read(file, ANSWER_SCHEMA).to_pylist()]
    return [row for row in rows if row["outcome"] == outcome]


async def test_every_call_of_the_windows_is_landed_once(landing: Landing) -> None:
    """Over several days and pages, each call is one row, as the API lists it, without its credential."""
    async with ApiServer(World.build(calls=2500, span_s=3 * 86_400)) as api:
        summary = await sweep(api, landing, daily_windows(START, START + 4 * DAY))
        listed = {row["call_id"]: row for row in rows_of(landing, "listed")}
        assert len(listed) == summary.calls == 2500
        for call in api.world.calls:
            details = api.world.details(call)
            del details["access_token"]
            assert json.loads(listed[call.call_id]["body"]) == details
            assert listed[call.call_id]["agent_id"] == call.agent.agent_id


async def test_each_window_that_is_read_to_its_end_is_recorded(api: ApiServer, landing: Landing) -> None:
    """The record names the window and its number of calls, and comes after these calls."""
    agent_id = api.world.agents[0].agent_id
    await sweep(api, landing, [Window(START, START + DAY, (agent_id,))])
    [swept] = rows_of(landing, "swept")
    expected = [call for call in api.world.calls if call.agent.agent_id == agent_id]
    assert json.loads(swept["body"]) == {
        "since": "2025-11-10T00:00:00Z",
        "until": "2025-11-11T00:00:00Z",
        "agent_ids": [agent_id],
        "calls": len(expected),
        "is_backfill": False,
    }
    assert {row["call_id"] for row in rows_of(landing, "listed")} == {call.call_id for call in expected}
    assert swept["sequence"] == len(expected)


async def test_the_bounds_of_a_window_are_exact(api: ApiServer, landing: Landing) -> None:
    """A call that starts at `since` is included, and a call at `until` is not."""
    first, last = (
        datetime.fromtimestamp(0, UTC) + timedelta(microseconds=api.world.calls[n].started_us) for n in (4, 9)
    )
    await sweep(api, landing, [Window(first, last)])
    assert [row["call_id"] for row in rows_of(landing, "listed")] == [
        call.call_id for call in api.world.calls[4:9]
    ]


async def test_a_window_that_fails_is_not_recorded(
    api: ApiServer, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised, the calls listed before are landed, and the window counts as unread."""
    monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)
    windows = daily_windows(START, START + 2 * DAY)

    def fail_later(done: int, _: int) -> None:
        if done == 1:
            api.faults = Faults(truncated=1)

    settings = Settings(_env_file=None, api_url=api.url, api_key=DEFAULT_API_KEY, api_rps=10_000)
    with pytest.raises(ApiUnavailableError, match="/v1/calls/"):
        await sweep_calls(
            windows, settings=settings, landing=landing, rng=random.Random(1), progress=fail_later
        )
    assert len(rows_of(landing, "swept")) == 1
    assert len(rows_of(landing, "listed")) == 30


async def test_no_credential_is_landed(api: ApiServer, landing: Landing, tmp_path: Path) -> None:
    """The list shows every call's access token, but no file contains one."""
    await sweep(api, landing, daily_windows(START, START + DAY))
    files = [path.read_bytes() for path in tmp_path.rglob("*.parquet")]
    assert files
    assert not any(ACCESS_TOKEN_MARK.encode() in content for content in files)
    assert not any(b"access_token" in row["body"] for row in rows_of(landing, "listed"))


@given(
    since=st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    length=st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_daily_windows_cover_the_time_without_gap_or_overlap(since: datetime, length: timedelta) -> None:
    """Each window begins at the end of the window before, and none contains a UTC midnight."""
    windows = daily_windows(since, since + length)
    edges = [since, *(window.until for window in windows)]
    assert [window.since for window in windows] == edges[:-1]
    assert edges[-1] == since + length
    assert all(window.since.date() == (window.until - timedelta(microseconds=1)).date() for window in windows)


async def test_a_day_that_is_not_listed_to_its_end_stops_no_other(landing: Landing) -> None:
    """Its calls are landed, and it is not recorded as read. After three such days, nothing more is asked."""
    short_days = {"2025-11-09T23:59:59+00:00"}

    async def answer(request: web.Request) -> web.Response:
        after = request.query["start_time_after"]
        call = {"_id": f"of {after}"}
        return web.json_response({"calls": [call], "total_count": 2 if after in short_days else 1})

    app = web.Application()
    app.router.add_get("/v1/calls/", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        settings = Settings(_env_file=None, api_url=url, api_key=DEFAULT_API_KEY, api_rps=10_000)
        days = daily_windows(START, START + 5 * DAY)
        summary = await sweep_calls(days, settings=settings, landing=landing, rng=random.Random(1))
        assert (summary.windows, len(summary.incomplete)) == (4, 1)
        assert len(rows_of(landing, "listed")) == 5
        assert [json.loads(row["body"])["since"][:10] for row in rows_of(landing, "swept")] == [
            f"2025-11-{day}" for day in (11, 12, 13, 14)
        ]
        short_days |= {(day.since - timedelta(seconds=1)).isoformat() for day in days}
        summary = await sweep_calls(days, settings=settings, landing=landing, rng=random.Random(2))
        assert (summary.windows, len(summary.incomplete)) == (0, 3)


def test_days_are_those_of_the_time_zone_that_is_given() -> None:
    """On the days on which clocks change they have 25 and 23 hours, and no moment is left out."""
    new_york = ZoneInfo("America/New_York")
    for month, day, hours in ((11, 1, [24, 25, 24]), (3, 7, [24, 23, 24])):
        since = datetime(2026 if month == 3 else 2025, month, day, tzinfo=new_york)
        windows = daily_windows(since, since + 3 * DAY)
        assert [(each.until - each.since) / timedelta(hours=1) for each in windows] == hours
        assert [each.until for each in windows[:-1]] == [each.since for each in windows[1:]]
