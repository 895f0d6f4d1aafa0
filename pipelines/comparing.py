"""`verbex-sync verify` and `verbex-sync backfill`: our tables beside Verbex's own list, and repaired from it.

Belongs here: which days are asked for, and what is read from the tables afterwards. How Verbex is asked is
`connector.sweep`'s; what differs and what is taken in is said in `sql/`.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from connector.sweep import SweepSummary, Window, daily_windows, sweep_calls
from pipelines.execution import run_load
from pipelines.models import read_query
from pipelines.resources import WarehouseResource
from pipelines.syncing import Syncer
from pipelines.warehouse import NothingPublishedError

Progress = Callable[[int, int], None]
"""Called with how many days are read and how many there are."""

_DAY = timedelta(days=1)
_IN_SPAN = "day between $since and $until and (len($agent_ids) = 0 or agent_id in $agent_ids)"


@dataclass(frozen=True)
class Span:
    """The UTC days from `since` to `until`, both included, of some agents or (none) of all."""

    since: date
    until: date
    agent_ids: tuple[str, ...] = ()

    def windows(self) -> list[Window]:
        """One window for each day."""
        since, end = (datetime.combine(day, time(), UTC) for day in (self.since, self.until + _DAY))
        return daily_windows(since, end, self.agent_ids)


@dataclass(frozen=True)
class Rows:
    """Rows with the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """What differs, what of it can no longer be on its way, and how complete each day is."""

    drift: Rows
    settled_count: int
    completeness: Rows


@dataclass(frozen=True)
class Repair:
    """What a backfill read: days asked for and days left out as read before, and the calls listed."""

    windows_read: int
    windows_left: int
    calls_listed: int


def compare(syncer: Syncer, span: Span, progress: Progress) -> Comparison:
    """List the span's calls at Verbex, load the list, and tell what differs.

    Raises:
        VerbexError: Verbex can't be asked.
        RunFailedError: The list could not be loaded.
    """
    _sweep(syncer, span.windows(), progress, is_backfill=False)
    run_load(syncer.definitions, syncer.instance)
    drift = _read(syncer.warehouse, f"from call_drift where {_IN_SPAN} order by day, call_id", span)
    is_in_flight = drift.columns.index("is_in_flight")
    completeness = f"from completeness_daily where {_IN_SPAN} order by day, agent_id"
    return Comparison(
        drift=drift,
        settled_count=sum(not row[is_in_flight] for row in drift.rows),
        completeness=_read(syncer.warehouse, completeness, span),
    )


def repair(syncer: Syncer, span: Span, progress: Progress) -> Repair:
    """Take the span's calls in from Verbex, but for days that were read before, and load them.

    Raises:
        VerbexError: Verbex can't be asked; the days read before that are not asked for again.
        RunFailedError: What was read could not be loaded.
    """
    run_load(syncer.definitions, syncer.instance)
    done = _read_before(syncer.warehouse)
    windows = [window for window in span.windows() if not any(_covers(one, window) for one in done)]
    try:
        summary = _sweep(syncer, windows, progress, is_backfill=True)
    finally:
        run_load(syncer.definitions, syncer.instance)
    return Repair(len(windows), len(span.windows()) - len(windows), summary.calls)


def _sweep(syncer: Syncer, windows: list[Window], progress: Progress, *, is_backfill: bool) -> SweepSummary:
    return asyncio.run(
        sweep_calls(
            windows,
            settings=syncer.settings,
            landing=syncer.warehouse.landing,
            rng=random.SystemRandom(),
            is_backfill=is_backfill,
            progress=progress,
        )
    )


def _read_before(warehouse: WarehouseResource) -> list[Window]:
    try:
        with warehouse.read() as connection:
            rows = connection.execute(read_query(warehouse.sql, "backfilled_windows")).fetchall()
    except NothingPublishedError:
        return []
    return [
        Window(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), tuple(agent_ids))
        for since, until, agent_ids in rows
    ]


def _covers(done: Window, wanted: Window) -> bool:
    has_agents = not done.agent_ids or (
        bool(wanted.agent_ids) and set(wanted.agent_ids) <= set(done.agent_ids)
    )
    return has_agents and done.since <= wanted.since and wanted.until <= done.until


def _read(warehouse: WarehouseResource, sql: str, span: Span) -> Rows:
    asked = {"since": span.since, "until": span.until, "agent_ids": list(span.agent_ids)}
    with warehouse.read() as connection:
        result = connection.execute(sql, asked)
        return Rows(tuple(name for name, *_ in result.description or ()), tuple(result.fetchall()))
