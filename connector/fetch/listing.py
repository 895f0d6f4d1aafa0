"""The list of calls that Verbex has, read day by day and landed: the other side of every comparison.

The requests for whole days, and the landing of listed calls, raw, belong here. SQL decides what differs from
the webhooks and what to do about it. The rows have the shape of fetched answers, in their own zone. Each
listed call is one row with outcome `listed`, or `backfilled` if it must repair our tables. Each window that
was read to its end gets one row with outcome `swept`, whose body names the window. A window without such a
row was not read to its end.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus
from typing import Any

import msgspec

from connector.fetch.attempts import AnswerLog, Attempt, answer_log, new_fetcher_id
from connector.landing.files import Landing
from connector.landing.zones import LISTED, Outcome
from connector.settings import Settings
from connector.system.progress import Progress, no_progress
from connector.verbex.client import VerbexClient
from connector.verbex.transport import Clock, utc_now

_MARGIN = timedelta(seconds=1)
"""Verbex does not document whether its bounds are inclusive, so we ask for more and keep what we want."""


@dataclass(frozen=True, slots=True)
class Window:
    """The calls that started at or after `since` and before `until`, UTC. No `agent_ids` means all agents."""

    since: datetime
    until: datetime
    agent_ids: tuple[str, ...] = ()


@dataclass
class SweepSummary:
    """The result of a sweep: the number of `windows` read to their end, and of `calls` in them."""

    fetcher_id: str
    windows: int = 0
    calls: int = 0


def daily_windows(since: datetime, until: datetime, agent_ids: Sequence[str] = ()) -> list[Window]:
    """Return the windows, one per UTC day, that cover the time from `since` to `until`."""
    return [Window(*day, tuple(agent_ids)) for day in _days(since.astimezone(UTC), until.astimezone(UTC))]


async def sweep_calls(
    windows: Sequence[Window],
    *,
    settings: Settings,
    landing: Landing,
    rng: random.Random,
    is_backfill: bool = False,
    clock: Clock = utc_now,
    progress: Progress = no_progress,
) -> SweepSummary:
    """List the calls of each window and land them in the zone `LISTED`.

    `progress` is called with the number of windows read and their total. With `is_backfill`, calls are marked
    to become part of our calls, not only to be compared with them. To continue a sweep that was stopped, pass
    the windows that have no `swept` row yet.

    Raises:
        VerbexError: The API can't be asked, or failed several times. Calls listed before are landed.
        OSError: Landing can't store the calls.
    """
    summary = SweepSummary(new_fetcher_id(clock(), rng))
    async with (
        VerbexClient.from_settings(settings, rng, clock) as client,
        answer_log(landing, LISTED, summary.fetcher_id) as log,
    ):
        for window in windows:
            outcome: Outcome = "backfilled" if is_backfill else "listed"
            calls = await _sweep(window, client, log, clock, outcome)
            body = _describe(window, calls, is_backfill=is_backfill)
            await log.add(Attempt(clock(), "", None, "swept", HTTPStatus.OK, body=body))
            summary.windows += 1
            summary.calls += calls
            progress(summary.windows, len(windows))
    return summary


async def _sweep(window: Window, client: VerbexClient, log: AnswerLog, clock: Clock, outcome: Outcome) -> int:
    query: dict[str, str | Sequence[str]] = {
        "start_time_after": (window.since - _MARGIN).isoformat(),
        "start_time_before": (window.until + _MARGIN).isoformat(),
        # Oldest first: a call that starts during the sweep comes last and shifts no page.
        "sort_direction": "asc",
    }
    if window.agent_ids:
        query["ai_agent_ids"] = window.agent_ids
    found = 0
    async for page in client.list_calls(query):
        for call in _within(window, page):
            agent_id = str(call["ai_agent_id"]) if call.get("ai_agent_id") else None
            body = msgspec.json.encode(call)
            await log.add(Attempt(clock(), str(call["_id"]), agent_id, outcome, HTTPStatus.OK, body=body))
            found += 1
    return found


def _within(window: Window, page: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for call in page:
        started_at = _time_of(call.get("call_start_time"))
        # A call without a readable time is kept: listing it twice does no harm, but losing it does.
        if call.get("_id") and (started_at is None or window.since <= started_at < window.until):
            yield call


def _time_of(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _describe(window: Window, calls: int, *, is_backfill: bool) -> bytes:
    return msgspec.json.encode(
        {
            "since": window.since,
            "until": window.until,
            "agent_ids": window.agent_ids,
            "calls": calls,
            "is_backfill": is_backfill,
        }
    )


def _days(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        midnight = datetime.combine(since.date() + timedelta(days=1), time(), UTC)
        yield since, min(midnight, until)
        since = midnight
