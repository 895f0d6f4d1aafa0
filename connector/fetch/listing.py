"""The list of calls that Verbex has, read day by day and landed: the other side of every comparison.

The requests for whole days, and the landing of listed calls, raw, belong here. SQL decides what differs from
the webhooks and what to do about it. The rows have the shape of fetched answers, in their own zone. Each
listed call is one row with outcome `listed`, or `backfilled` if it must repair our tables. Each window that
was read to its end gets one row with outcome `swept`, whose body names the window. A window without such a
row was not read to its end.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus

import msgspec

from connector.fetch.attempts import Attempt, answer_log, new_fetcher_id
from connector.landing.files import Landing
from connector.landing.zones import LISTED, Outcome
from connector.settings import Settings
from connector.system.progress import Progress, no_progress
from connector.verbex.client import VerbexClient
from connector.verbex.listed import IncompleteListError
from connector.verbex.transport import Clock, utc_now

_MARGIN = timedelta(seconds=1)
"""Verbex does not document whether its bounds are inclusive, so we ask for more and keep what we want."""

_Add = Callable[[str, str | None, Outcome, bytes | None], Awaitable[None]]

MOST_INCOMPLETE_WINDOWS = 3
"""A sweep ends after so many windows that could not be read to their end."""


@dataclass(frozen=True, slots=True)
class Window:
    """The calls that started at or after `since` and before `until`, UTC. No `agent_ids` means all agents."""

    since: datetime
    until: datetime
    agent_ids: tuple[str, ...] = ()


@dataclass
class SweepSummary:
    """The result of a sweep: the number of `windows` read to their end, of `calls` in them, and their agents.

    `incomplete` has the error of each window whose list did not end or lacked calls.
    """

    fetcher_id: str
    windows: int = 0
    calls: int = 0
    agent_ids: set[str] = field(default_factory=set)
    incomplete: list[IncompleteListError] = field(default_factory=list)


def daily_windows(since: datetime, until: datetime, agent_ids: Sequence[str] = ()) -> list[Window]:
    """Return the windows that cover the time from `since` to `until`: one per day of `since`'s time zone."""
    return [Window(*day, tuple(agent_ids)) for day in _days(since, until.astimezone(since.tzinfo))]


async def sweep_calls(
    windows: Sequence[Window],
    *,
    settings: Settings,
    landing: Landing,
    rng: random.Random,
    is_backfill: bool = False,
    sweep_number: int | None = None,
    clock: Clock = utc_now,
    progress: Progress = no_progress,
) -> SweepSummary:
    """List the calls of each window and land them in the zone `LISTED`.

    A window whose list is incomplete gets no `swept` row, and the others are read. After a few of them, the
    rest is not asked for: the API is at fault then.

    `sweep_number` is one more than that of any sweep that is known: it orders sweeps, whatever clocks showed.
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

        async def add(call_id: str, agent_id: str | None, outcome: Outcome, body: bytes | None) -> None:
            status = HTTPStatus.OK
            row = Attempt(clock(), call_id, agent_id, outcome, status, body=body, attempt_number=sweep_number)
            await log.add(row)

        for number, window in enumerate(windows, 1):
            outcome: Outcome = "backfilled" if is_backfill else "listed"
            try:
                agents = await _sweep(window, client, add, outcome)
            except IncompleteListError as error:
                summary.incomplete.append(error)
                if len(summary.incomplete) >= MOST_INCOMPLETE_WINDOWS:
                    return summary
            else:
                body = _describe(window, agents.total(), is_backfill=is_backfill)
                await add("", None, "swept", body)
                summary.windows += 1
                summary.calls += agents.total()
                summary.agent_ids |= agents.keys()
            progress(number, len(windows))
    return summary


async def _sweep(window: Window, client: VerbexClient, add: _Add, outcome: Outcome) -> Counter[str]:
    """List the calls of a window, and return their number by agent."""
    query: dict[str, str | Sequence[str]] = {
        "start_time_after": (window.since - _MARGIN).isoformat(),
        "start_time_before": (window.until + _MARGIN).isoformat(),
        # Oldest first: a call that starts during the sweep comes last and shifts no page.
        "sort_direction": "asc",
    }
    if window.agent_ids:
        query["ai_agent_ids"] = window.agent_ids
    found: Counter[str] = Counter()
    async for page in client.list_calls(query):
        for call in page:
            # A call without a readable time is kept: listing it twice does no harm, but losing it does.
            if call.started_at is None or window.since <= call.started_at < window.until:
                await add(call.call_id, call.agent_id, outcome, call.body)
                found[call.agent_id or ""] += 1
    return found


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
        midnight = datetime.combine(since.date() + timedelta(days=1), time(), since.tzinfo)
        end = min(midnight, until)
        yield since.astimezone(UTC), end.astimezone(UTC)
        since = midnight
