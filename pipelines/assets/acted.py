"""One asset for each rule that acts: what it sent, what failed, and how long after the fact.

The assets, their metadata and their check belong here. Acting does not: see `pipelines.actions.dispatcher`.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import dagster as dg

from connector.errors import OperatorError
from connector.settings import Settings
from connector.system.counts import counted
from connector.system.lock import LockHeldError
from connector.system.loop import run
from pipelines.actions.attempts import Acted
from pipelines.actions.dispatcher import new_dispatcher
from pipelines.actions.pause import is_paused
from pipelines.actions.published import count_troubles, has_all_steps
from pipelines.assets.metadata import Result
from pipelines.models.model import Model
from pipelines.models.rule import Rule
from pipelines.names import ACT_STEP, ACTION_CHECK, ACTION_GROUP, PUBLISHED, action_asset
from pipelines.resources import WarehouseResource
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError

_KINDS = ("sent", "failed", "unknown", "tried", "held", "expired", "cancelled")


def acted_assets(settings: Settings, models: Sequence[Model]) -> list[dg.AssetsDefinition]:
    """Build one step that acts, with an asset for each rule that the settings name."""
    rules = settings.actions
    if not rules:
        return []
    usable = {model.name: model for model in models if isinstance(model, Rule)}

    @dg.multi_asset(
        name=ACT_STEP,
        specs=[_spec(name, usable.get(name)) for name in rules],
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
            with folder.read() as tables:
                troubles = count_troubles(tables, rules)
        except LockHeldError as error:
            raise dg.Failure(
                f"Process {error.holder} sends what the rules want, such as `verbex-sync sync --follow`.",
                allow_retries=False,
            ) from None
        except OperatorError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        done = dispatcher.take_done()
        for rule in rules:
            acted = done.get(rule, Acted())
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


def report_checks(instance: dg.DagsterInstance, folder: DataFolder, rules: Sequence[str]) -> None:
    """Report the check of each rule to Dagster if the published tables say something else than it has.

    A person can settle an action without any run. While something landed that is not in the tables yet, it
    may be known better what a run did, so nothing is reported.
    """
    try:
        with folder.read() as tables:
            if not has_all_steps(tables, folder.landing):
                return
            troubles = count_troubles(tables, rules)
    except NothingPublishedError:
        return
    for rule in rules:
        result = actions_result(rule, troubles.get(rule, {}))
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(action_asset(rule)),
            check_name=ACTION_CHECK,
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
        )
        if _shown(instance, evaluation.asset_check_key) != (evaluation.passed, evaluation.description):
            instance.report_runless_asset_event(evaluation)


def _shown(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> tuple[bool, str | None] | None:
    """Return the newest result of a check that Dagster has, and its description."""
    record = instance.get_latest_asset_check_evaluation_record(key)
    event = record.event.dagster_event if record is not None and record.event is not None else None
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None  # none, or one that a run has only planned
    evaluation = event.asset_check_evaluation_data
    return evaluation.passed, evaluation.description


def _spec(name: str, rule: Rule | None) -> dg.AssetSpec:
    """Build the asset of a rule; one without a usable file is shown too, since the settings name it."""
    return dg.AssetSpec(
        action_asset(name),
        deps=[PUBLISHED] if rule is None else [PUBLISHED, name],
        group_name=ACTION_GROUP,
        kinds=set() if rule is None else {rule.kind},
        description=f"What the rule {name} set off, once each: sent, failed, and how long after the fact.",
    )


def _check_spec(rule: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        ACTION_CHECK,
        asset=action_asset(rule),
        description="No action of the rule failed for good, and of none it is unknown whether it was done.",
    )
