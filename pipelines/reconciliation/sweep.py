"""A sweep: whole days of Verbex's own list of calls are read, and the raw rows land.

The choice of days, and that only one process reads the list at a time, belong here. Reading a day does not:
see `connector.fetch.listing`. What differs from our tables, and what is loaded into them, does not either:
see `sql/`.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connector.errors import OperatorError
from connector.fetch.listing import Window, daily_windows, sweep_calls
from connector.settings import Settings
from connector.system.files import make_folder
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
    """A sweep that can't start, because another process is reading Verbex's list of calls."""


class IncompleteSweepError(OperatorError):
    """Days that Verbex did not list to their end. They are not compared, and are read again next time."""


class UnknownAgentError(OperatorError):
    """An agent that neither our tables nor Verbex's list have a call of."""


@dataclass(frozen=True)
class Swept:
    """The counts of a sweep: days read, days skipped because a backfill had read them, and calls listed."""

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
    """List the span's calls at Verbex and land them. A backfill skips the days that it has read before.

    A sweep waits a minute for another one and then stops, because reading the same days twice is of no use.
    It does not wait for a fetch, and a fetch does not wait for it. They write different zones, and a backfill
    of years must not delay the analysis of a call that has just ended. Both count towards the rate of one
    account, but a sweep has only one request in flight, so it adds little to what `VERBEX_API_RPS` allows a
    fetch.

    Raises:
        SweepBusyError: Another process is still sweeping after a minute.
        VerbexError: Verbex can't be asked. The days read before that are landed.
        IncompleteSweepError: Verbex did not list every day to its end. What it listed is landed.
        UnknownAgentError: The span names an agent that no call is known of.
        NotLandedError: Landing can't store the calls.
    """
    make_folder(folder.path)
    try:
        with hold_lock(folder.path / "sweep.lock", wait_s=PATIENCE_S):
            return _sweep(settings, folder, span, is_backfill=is_backfill, progress=progress)
    except LockHeldError as error:
        raise SweepBusyError(
            f"Process {error.holder} has been listing Verbex's calls for over {PATIENCE_S:.0f} s. "
            "Nothing was asked. Run this again when that process is done."
        ) from None
    except VerbexError as error:
        note_hold(folder, error, datetime.now(UTC))
        raise
    except OSError as error:
        raise NotLandedError(settings, error) from error


def _sweep(
    settings: Settings, folder: DataFolder, span: Span, *, is_backfill: bool, progress: Progress
) -> Swept:
    now = datetime.now(UTC)
    if (until := held_until(folder, now)) is not None:
        raise ApiUnavailableError(explain_hold(until))
    done = _read_before(folder, now) if is_backfill else []
    wanted = _windows(span, ZoneInfo(settings.time_zone))
    windows = [window for window in wanted if not any(_covers(one, window) for one in done)]
    summary = run(
        sweep_calls(
            windows,
            settings=settings,
            landing=folder.landing,
            rng=random.SystemRandom(),
            is_backfill=is_backfill,
            sweep_number=_last_number(folder) + 1,
            progress=progress,
        )
    )
    if summary.incomplete:
        raise IncompleteSweepError(
            f"Only {summary.windows} of {len(windows)} days were listed to their end, so the others can't be"
            f" compared. {summary.incomplete[0]}"
        )
    _check_agents(folder, span, summary.agent_ids)
    return Swept(summary.windows, len(wanted) - len(windows), summary.calls)


def _last_number(folder: DataFolder) -> int:
    rows: tuple[Any, ...] = folder.query("last_sweep_number").rows
    return max((number for (number,) in rows), default=0)


def _check_agents(folder: DataFolder, span: Span, listed: set[str]) -> None:
    known = {agent_id for (agent_id,) in folder.query("known_agents").rows} | listed
    if unknown := sorted(set(span.agent_ids) - known):
        raise UnknownAgentError(
            f"Neither our tables nor Verbex's list of these days have a call of the agent {unknown[0]!r}."
            " Check its id."
        )


def _windows(span: Span, zone: ZoneInfo) -> list[Window]:
    """Return one window for each day up to today: no call has started after that."""
    last = min(span.until, datetime.now(zone).date())
    since, end = (datetime.combine(day, time(), zone) for day in (span.since, last + _DAY))
    return daily_windows(since, end, span.agent_ids)


def _read_before(folder: DataFolder, now: datetime) -> list[Window]:
    rows: tuple[Any, ...] = folder.query("backfilled_windows", as_of=now).rows
    return [Window(since, until, tuple(agent_ids)) for since, until, agent_ids in rows]


def _covers(done: Window, wanted: Window) -> bool:
    has_agents = not done.agent_ids or (
        bool(wanted.agent_ids) and set(wanted.agent_ids) <= set(done.agent_ids)
    )
    return has_agents and done.since <= wanted.since and wanted.until <= done.until
