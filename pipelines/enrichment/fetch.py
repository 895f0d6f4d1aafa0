"""The asset that asks Verbex: due calls in, raw answers into landing.

What is due, and on request what was given up, is read from the published file, and nothing but landing is
written, so a slow API delays no row. The answers reach the tables with the next load.
"""

import math
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from connector.fetch.calls import fetch_due
from connector.settings import Settings
from connector.system.lock import LockHeldError, hold_lock, is_held
from connector.system.loop import run
from connector.verbex.answer import NotAuthorizedError, VerbexError
from connector.verbex.pace import LONGEST_WAIT_S
from pipelines.assets.tables import PUBLISHED, Result
from pipelines.enrichment.due import ZONES, list_due, list_unavailable
from pipelines.enrichment.span import Span, SpanConfig
from pipelines.resources import WarehouseResource

ANSWERS = "verbex_answers"
KEY_CHECK = "api_key_is_set"

_PATIENCE_S = 60.0


class FetchConfig(SpanConfig):
    """What a run asks for beside what is due; days and agents choose among what was given up."""

    is_asking_again: bool = Field(
        False, description="Whether to ask once more for what was given up as unavailable."
    )

    def span_again(self) -> Span | None:
        """The calls to ask for again; None if there is nothing to ask for again.

        Raises:
            ValueError: Days or agents are given in vain, or what is given is no day.
        """
        span = Span.of(self)
        if not self.is_asking_again and span != Span():
            raise ValueError(
                "since, until and agents choose among what was given up: set is_asking_again to true as well."
            )
        return span if self.is_asking_again else None


def answers_asset(settings: Settings) -> dg.AssetsDefinition:
    """What Verbex answers to what is due: post-call analyses, call details and PCA configurations."""

    @dg.asset(
        name=ANSWERS,
        deps=[PUBLISHED],
        group_name="fetch",
        kinds={"rest", "parquet"},
        description="Asks Verbex for what is due and lands its answers: landed_pca, _calls and _agents.",
        check_specs=[key_check(ANSWERS)],
    )
    def answers(
        context: dg.AssetExecutionContext, config: FetchConfig, warehouse: WarehouseResource
    ) -> Iterator[Result]:
        fetched = Fetched()
        try:
            again = config.span_again()
            if settings.api_key is not None:
                fetched = fetch_all(settings, warehouse, again=again)
        except LockHeldError as error:
            if config.is_asking_again:
                raise dg.Failure(f"Nothing was asked: {error} Run this again when it is done.") from None
            context.log.info("Nothing was asked: %s It asks for the same calls.", error)
        except (ValueError, NotAuthorizedError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        except OSError as error:
            raise dg.Failure(unlanded(settings, error)) from None
        yield dg.MaterializeResult(metadata=fetched.metadata)
        yield key_result(ANSWERS, settings)

    return answers


@dataclass
class Fetched:
    """What a fetch came to: how many attempts had which outcome, and why it stopped early if it did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    stopped_by: str | None = None

    def __add__(self, later: "Fetched") -> "Fetched":
        """Two fetches as one, which stopped as the later did."""
        return Fetched(self.outcomes + later.outcomes, later.stopped_by)

    @property
    def metadata(self) -> dict[str, int | str]:
        """As Dagster shows it."""
        stopped = {"stopped_by": self.stopped_by} if self.stopped_by else {}
        return {"asked": self.outcomes.total(), **self.outcomes, **stopped}


def fetch_all(
    settings: Settings,
    warehouse: WarehouseResource,
    *,
    again: Span | None = None,
    stop: threading.Event | None = None,
) -> Fetched:
    """Ask once for everything that is due, and for what was given up in `again`.

    A call that was given up is past its time: what Verbex says of it now settles it anew, and it is not asked
    for by itself again if that is nothing. Nothing is asked while Verbex has told us to wait.

    Raises:
        LockHeldError: Another process is asking already; with `again` it still is after a minute, since it
            asks only for what is due.
        NotAuthorizedError: The key is not accepted; what was answered before is landed.
        asyncio.CancelledError: `stop` was set; what was answered before is landed.
    """
    fetched = Fetched()
    Path(warehouse.data_dir).mkdir(parents=True, exist_ok=True)
    with hold_lock(_lock_of(warehouse), wait_s=0 if again is None else _PATIENCE_S):
        if (until := held_until(warehouse, datetime.now(UTC))) is not None:
            return Fetched(stopped_by=told_to_wait(until))
        for zone in ZONES:
            due = list_due(warehouse, zone, datetime.now(UTC))
            if again is not None:
                due += list_unavailable(warehouse, zone, again)
            if due:
                summary = run(
                    fetch_due(
                        due,
                        zone=zone,
                        settings=settings,
                        landing=warehouse.landing,
                        rng=random.SystemRandom(),
                    ),
                    stop=stop,
                )
                fetched.outcomes.update(summary.outcomes)
                if summary.stopped_by is not None:
                    note_hold(warehouse, summary.stopped_by)
                    return replace(fetched, stopped_by=str(summary.stopped_by))
    return fetched


def unlanded(settings: Settings, error: OSError) -> str:
    """Why what Verbex answered is not kept, and what to do."""
    return (
        f"{settings.landing} can't take what Verbex answers: {error}. Mend that; the rest is asked for then."
    )


def held_until(warehouse: WarehouseResource, now: datetime) -> datetime | None:
    """Until when Verbex told us to wait, UTC; None if it did not, or if that is over.

    A file remembers it: whoever asks next is another pass, and mostly another process.
    """
    try:
        until = datetime.fromtimestamp(float(_hold_of(warehouse).read_text()), UTC)
    except (FileNotFoundError, ValueError):
        return None
    # One that is further off than any wait was noted by a clock that has been put back since.
    return until if now < until <= now + timedelta(seconds=LONGEST_WAIT_S) else None


def note_hold(warehouse: WarehouseResource, error: VerbexError | OSError) -> None:
    """Remember how long Verbex told us to wait, if it did."""
    wait_s = error.retry_after_s if isinstance(error, VerbexError) else None
    if wait_s:
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        _hold_of(warehouse).write_text(str(math.ceil(until.timestamp())))


def told_to_wait(until: datetime) -> str:
    """Why nothing is asked."""
    return f"Verbex told us to wait until {until:%Y-%m-%d %H:%M:%S} UTC."


def is_fetching(warehouse: WarehouseResource) -> bool:
    """Whether a process is asking Verbex at this moment."""
    return is_held(_lock_of(warehouse))


def _hold_of(warehouse: WarehouseResource) -> Path:
    return Path(warehouse.data_dir) / "fetch.hold"


def _lock_of(warehouse: WarehouseResource) -> Path:
    return Path(warehouse.data_dir) / "fetch.lock"


def key_check(asset: str) -> dg.AssetCheckSpec:
    """The check of an asset that asks Verbex: it can."""
    return dg.AssetCheckSpec(KEY_CHECK, asset=asset, description="Verbex can be asked: there is a key.")


def key_result(asset: str, settings: Settings) -> dg.AssetCheckResult:
    """What `key_check` comes to; without a key nothing was asked, and that is no failure."""
    has_key = settings.api_key is not None
    return dg.AssetCheckResult(
        asset_key=asset,
        passed=has_key,
        check_name=KEY_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={} if has_key else {"next_step": "Set VERBEX_API_KEY; nothing is asked until then."},
    )
