"""The asset that asks Verbex: due calls in, raw answers into landing.

What is due is read from the published file and nothing but landing is written, so a slow API delays no
row. The answers reach the tables with the next load.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from connector.answer import NotAuthorizedError
from connector.fetch import fetch_due
from connector.lock import LockHeldError, hold_lock, is_held
from connector.loop import run
from connector.settings import Settings
from pipelines.assets import PUBLISHED, Result
from pipelines.due import ZONES, list_due
from pipelines.resources import WarehouseResource

ANSWERS = "verbex_answers"
KEY_CHECK = "api_key_is_set"


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
    def answers(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Result]:
        fetched = Fetched()
        if settings.api_key is not None:
            try:
                fetched = fetch_all(settings, warehouse)
            except LockHeldError as error:
                context.log.info("Nothing was asked: %s It asks for the same calls.", error)
            except NotAuthorizedError as error:
                raise dg.Failure(str(error), allow_retries=False) from None
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


def fetch_all(settings: Settings, warehouse: WarehouseResource) -> Fetched:
    """Ask once for everything that is due.

    Raises:
        LockHeldError: Another process is asking already.
        NotAuthorizedError: The key is not accepted; what was answered before is landed.
    """
    fetched = Fetched()
    Path(warehouse.data_dir).mkdir(parents=True, exist_ok=True)
    with hold_lock(_lock_of(warehouse)):
        for zone in ZONES:
            if due := list_due(warehouse, zone, datetime.now(UTC)):
                summary = run(
                    fetch_due(
                        due,
                        zone=zone,
                        settings=settings,
                        landing=warehouse.landing,
                        rng=random.SystemRandom(),
                    )
                )
                fetched.outcomes.update(summary.outcomes)
                if summary.stopped_by is not None:
                    fetched.stopped_by = str(summary.stopped_by)
    return fetched


def is_fetching(warehouse: WarehouseResource) -> bool:
    """Whether a process is asking Verbex at this moment."""
    return is_held(_lock_of(warehouse))


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
