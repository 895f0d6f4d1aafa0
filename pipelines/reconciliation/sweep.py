"""Reads Verbex's own list of calls: whole days, raw rows into landing, one process at a time.

Belongs here: which days are asked for. How a day is read is `connector.fetch.listing`'s; what differs from
our tables, and what of it is taken in, is said in `sql/`.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from connector.errors import OperatorError
from connector.fetch.listing import Window, daily_windows, sweep_calls
from connector.settings import Settings
from connector.system.lock import PATIENCE_S, LockHeldError, hold_lock
from connector.system.loop import run
from connector.system.progress import Progress, no_progress
from connector.verbex.answer import ApiUnavailableError, VerbexError
from pipelines.enrichment.fetch import NotLandedError
from pipelines.enrichment.hold import explain_hold, held_until, note_hold
from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder

_DAY = timedelta(days=1)


class SweepBusyError(OperatorError):
    """Another process is reading Verbex's list of calls."""


@dataclass(frozen=True)
class Swept:
    """Days that were asked for, days left out since a backfill read them before, and the calls listed."""

    days_read: int = 0
    days_left: int = 0
    calls_listed: int = 0


def sweep_span(
    settings: Settings,
    folder: DataFolder,
    span: Span,
    *,
    is_backfill: bool,
    progress: Progress = no_progress,
) -> Swept:
    """List the span's calls at Verbex and land them; a backfill leaves out the days that it read before.

    One sweep waits for another and then steps back: the same days twice are of no use. It does not wait for a
    fetch, nor a fetch for it. They write different zones, and a backfill of years must not delay the analysis
    of a call that has just ended. Both count against one account's rate, but a sweep has only one request
    under way at any time, so it adds little to what `VERBEX_API_RPS` allows a fetch.

    Raises:
        SweepBusyError: Another process still sweeps after a minute.
        VerbexError: Verbex can't be asked; the days read before that are landed.
        NotLandedError: The landing zone can't take the calls.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with hold_lock(folder.path / "sweep.lock", wait_s=PATIENCE_S):
            return _sweep(settings, folder, span, is_backfill=is_backfill, progress=progress)
    except LockHeldError as error:
        raise SweepBusyError(
            f"Process {error.holder} has been listing Verbex's calls for over {PATIENCE_S:.0f} s; "
            "nothing was asked. Run this again when it is done."
        ) from None
    except VerbexError as error:
        note_hold(folder, error)
        raise
    except OSError as error:
        raise NotLandedError(settings, error) from error


def _sweep(
    settings: Settings, folder: DataFolder, span: Span, *, is_backfill: bool, progress: Progress
) -> Swept:
    if (until := held_until(folder, datetime.now(UTC))) is not None:
        raise ApiUnavailableError(explain_hold(until))
    done = _read_before(folder) if is_backfill else []
    wanted = _windows(span)
    windows = [window for window in wanted if not any(_covers(one, window) for one in done)]
    summary = run(
        sweep_calls(
            windows,
            settings=settings,
            landing=folder.landing,
            rng=random.SystemRandom(),
            is_backfill=is_backfill,
            progress=progress,
        )
    )
    return Swept(summary.windows, len(wanted) - len(windows), summary.calls)


def _windows(span: Span) -> list[Window]:
    """One window for each day up to today: no call has started after it."""
    last = min(span.until, datetime.now(UTC).date())
    since, end = (datetime.combine(day, time(), UTC) for day in (span.since, last + _DAY))
    return daily_windows(since, end, span.agent_ids)


def _read_before(folder: DataFolder) -> list[Window]:
    rows: tuple[Any, ...] = folder.query("backfilled_windows").rows
    return [
        Window(since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), tuple(agent_ids))
        for since, until, agent_ids in rows
    ]


def _covers(done: Window, wanted: Window) -> bool:
    has_agents = not done.agent_ids or (
        bool(wanted.agent_ids) and set(wanted.agent_ids) <= set(done.agent_ids)
    )
    return has_agents and done.since <= wanted.since and wanted.until <= done.until
