"""One asset for each rule that acts: what it sent, what failed, and how long after the fact.

The assets, their metadata and their check belong here. Acting does not: see `pipelines.actions.dispatcher`.
"""

from collections.abc import Iterator, Mapping
from statistics import median

import dagster as dg

from connector.errors import OperatorError
from connector.settings import Settings
from connector.system.counts import counted
from connector.system.lock import LockHeldError
from connector.system.loop import run
from pipelines.actions.dispatcher import Acted, new_dispatcher
from pipelines.actions.pause import is_paused
from pipelines.actions.published import count_troubles
from pipelines.assets.metadata import Result
from pipelines.names import ACTION_CHECK, ACTION_GROUP, PUBLISHED, action_asset
from pipelines.resources import WarehouseResource

_KINDS = ("sent", "failed", "unknown", "tried", "held", "expired", "cancelled")


def acted_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Build one step that acts, with an asset for each rule that the settings name."""
    rules = settings.actions
    if not rules:
        return []

    @dg.multi_asset(
        name=ACTION_GROUP,
        specs=[_spec(rule) for rule in rules],
        check_specs=[_check_spec(rule) for rule in rules],
    )
    def actions(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> Iterator[Result]:
        folder = warehouse.folder
        dispatcher = new_dispatcher(settings, folder, context.log.warning)
        try:
            if is_paused(folder.path):
                context.log.warning(
                    "Actions are paused. `verbex-sync actions resume` lets them go out again."
                )
            else:
                run(dispatcher.act_once())
        except LockHeldError as error:
            raise dg.Failure(
                f"Process {error.holder} sends what the rules want, such as `verbex-sync sync --follow`.",
                allow_retries=False,
            ) from None
        except OperatorError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        with folder.read() as tables:
            troubles = count_troubles(tables, rules)
        for rule in rules:
            acted = dispatcher.done.get(rule, Acted())
            yield dg.MaterializeResult(asset_key=action_asset(rule), metadata=acted_metadata(rule, acted))
            # what failed just now is in the tables only after the next load
            counts = {
                state: troubles.get(rule, {}).get(state, 0) + acted.counts[state]
                for state in ("failed", "unknown")
            }
            yield actions_result(rule, counts)

    return [actions]


def acted_metadata(rule: str, acted: Acted) -> dict[str, float | str]:
    """Return what was done for a rule as numbers to plot: counts, and the delays of what was sent [s]."""
    counts: dict[str, float | str] = {"rule": rule} | {
        name: acted.counts[name] for name in ("intended", *_KINDS)
    }
    if acted.delays_s:
        counts |= {"median_delay_s": median(acted.delays_s), "longest_delay_s": max(acted.delays_s)}
    return counts


def actions_result(rule: str, troubles: Mapping[str, int]) -> dg.AssetCheckResult:
    """Return the result of a rule's check, for its actions that a person must look at, by state."""
    parts = [f"{count} {state}" for state, count in sorted(troubles.items()) if count]
    listed = ", ".join(parts)
    total = counted(sum(troubles.values()), "action")
    return dg.AssetCheckResult(
        passed=not parts,
        asset_key=action_asset(rule),
        check_name=ACTION_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={state: troubles.get(state, 0) for state in ("failed", "unknown")},
        description=(
            f"{total} of {rule}: {listed}. `verbex-sync actions log {rule}` says why; `actions retry`, "
            "`settle` or `cancel` clears them."
            if parts
            else None
        ),
    )


def _spec(rule: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        action_asset(rule),
        deps=[PUBLISHED],
        group_name=ACTION_GROUP,
        kinds={"webhook"},
        description=f"What the rule {rule} set off, once each: sent, failed, and how long after the fact.",
    )


def _check_spec(rule: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        ACTION_CHECK,
        asset=action_asset(rule),
        description="No action of the rule failed for good, and of none it is unknown whether it was done.",
    )
