"""The asset that asks Verbex for its own list of calls: whole days in, raw rows into landing.

Belongs here: which days are asked for, and that one process asks at a time. How a day is read is
`connector.fetch.listing`'s; what differs from our tables, and what of it is taken in, is said in `sql/`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from connector.fetch.listing import Progress, Window, daily_windows, sweep_calls
from connector.settings import Settings
from connector.system.lock import LockHeldError, hold_lock
from connector.system.loop import run
from connector.verbex.answer import ApiUnavailableError, VerbexError
from pipelines.assets.tables import LISTED, Result, landed_spec
from pipelines.enrichment.fetch import held_until, key_check, key_result, note_hold, told_to_wait, unlanded
from pipelines.enrichment.span import Span, SpanConfig
from pipelines.models.model import read_query
from pipelines.resources import WarehouseResource
from pipelines.warehouse.files import NothingPublishedError

SWEEP = "sweep"
"""The step's name, by which a run is told what to ask for."""

_DAY = timedelta(days=1)
_PATIENCE_S = 60.0


class SweepBusyError(Exception):
    """Another process is reading Verbex's list of calls."""


class SweepConfig(SpanConfig):
    """What a run asks for."""

    since: str = Field("", description="First UTC day, as 2025-11-30; empty for yesterday.")
    until: str = Field("", description="Last UTC day; empty for today.")
    is_backfill: bool = Field(False, description="Whether what is listed becomes part of our calls.")


@dataclass(frozen=True)
class Swept:
    """Days that were asked for, days left out since a backfill read them before, and the calls listed."""

    days_read: int = 0
    days_left: int = 0
    calls_listed: int = 0


def listed_asset(settings: Settings, progress: Progress | None = None) -> dg.AssetsDefinition:
    """Verbex's own list of calls, as it lands."""

    @dg.multi_asset(
        name=SWEEP,
        specs=[landed_spec(LISTED)],
        check_specs=[key_check(LISTED)],
        # Before any step that loads: a load holds the warehouse, and is to find what landed meanwhile.
        op_tags={"dagster/priority": "1"},
    )
    def listed(
        context: dg.AssetExecutionContext, config: SweepConfig, warehouse: WarehouseResource
    ) -> Iterator[Result]:
        swept = Swept()
        try:
            today = datetime.now(UTC).date()
            span = Span.of(config, since=today - _DAY, until=today)
            if settings.api_key is not None:
                swept = sweep_span(
                    settings, warehouse, span, is_backfill=config.is_backfill, progress=progress
                )
        except (ValueError, SweepBusyError, VerbexError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        except OSError as error:
            raise dg.Failure(unlanded(settings, error), allow_retries=False) from None
        context.log.info("%s to %s: %s", span.since, span.until, swept)
        days = {"since": str(span.since), "until": str(span.until)}
        yield dg.MaterializeResult(asset_key=LISTED, metadata=days | vars(swept))
        yield key_result(LISTED, settings)

    return listed


def sweep_span(
    settings: Settings,
    warehouse: WarehouseResource,
    span: Span,
    *,
    is_backfill: bool,
    progress: Progress | None = None,
) -> Swept:
    """List the span's calls at Verbex and land them; a backfill leaves out the days that it read before.

    One sweep waits for another and then steps back: the same days twice are of no use to anybody. It does
    not wait for a fetch, nor a fetch for it. They write different zones, and a backfill of years must not
    delay the analysis of a call that has just ended. Both count against one account's rate, but a sweep has
    only one request under way at any time, so it adds little to what `VERBEX_API_RPS` allows a fetch.

    Raises:
        SweepBusyError: Another process still sweeps after a minute.
        VerbexError: Verbex can't be asked; the days read before that are landed.
        OSError: The landing zone can't take the calls.
    """
    folder = Path(warehouse.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with hold_lock(folder / "sweep.lock", wait_s=_PATIENCE_S):
            if (until := held_until(warehouse, datetime.now(UTC))) is not None:
                raise ApiUnavailableError(told_to_wait(until))
            done = _read_before(warehouse) if is_backfill else []
            wanted = _windows(span)
            windows = [window for window in wanted if not any(_covers(one, window) for one in done)]
            summary = run(
                sweep_calls(
                    windows,
                    settings=settings,
                    landing=warehouse.landing,
                    rng=random.SystemRandom(),
                    is_backfill=is_backfill,
                    progress=progress,
                )
            )
    except LockHeldError as error:
        raise SweepBusyError(
            f"Process {error.holder} has been listing Verbex's calls for over {_PATIENCE_S:.0f} s; "
            "nothing was asked. Run this again when it is done."
        ) from None
    except VerbexError as error:
        note_hold(warehouse, error)
        raise
    return Swept(summary.windows, len(wanted) - len(windows), summary.calls)


def _windows(span: Span) -> list[Window]:
    """One window for each day up to today: no call has started after it."""
    last = min(span.until, datetime.now(UTC).date())
    since, end = (datetime.combine(day, time(), UTC) for day in (span.since, last + _DAY))
    return daily_windows(since, end, span.agent_ids)


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
