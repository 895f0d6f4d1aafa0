"""Lists the calls that Verbex knows of, day by day, and lands them: the other side of every comparison.

Belongs here: asking for whole days and landing what is listed, raw. What differs from the webhooks, and what
becomes of it, is for SQL. The rows have the shape of fetched answers, in a zone of their own: each listed
call is one row with outcome `listed` (or `backfilled`, if it is to repair our tables), and each window that
was read to its end gets one row with outcome `swept`, whose body says which window. A window without that row
was not read to its end.
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
"""Whether Verbex's bounds include their own instant is not documented: ask for more, keep what is wanted."""


@dataclass(frozen=True, slots=True)
class Window:
    """Calls that started at or after `since` and before `until`, UTC, of some agents or (none) of all."""

    since: datetime
    until: datetime
    agent_ids: tuple[str, ...] = ()


@dataclass
class SweepSummary:
    """What was listed: `windows` read to their ends, and the `calls` in them."""

    fetcher_id: str
    windows: int = 0
    calls: int = 0


def daily_windows(since: datetime, until: datetime, agent_ids: Sequence[str] = ()) -> list[Window]:
    """The windows, one a UTC day, that make up the time from `since` to `until`."""
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

    `progress` is called with the windows read, and how many there are. With `is_backfill` calls are marked to
    become part of our calls, and not only to be compared with them. A sweep that was stopped goes on with the
    windows that have no `swept` row yet.

    Raises:
        VerbexError: The API can't be asked, or failed several times over. What was listed before is landed.
        OSError: The landing zone can't take the calls.
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
        # Oldest first: a call that starts meanwhile comes last and moves no page.
        "sort_direction": "asc",
    }
    if window.agent_ids:
        query["ai_agent_ids[]"] = window.agent_ids
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
        # A call without a time that can be read is kept: listing it twice does no harm, losing it does.
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
