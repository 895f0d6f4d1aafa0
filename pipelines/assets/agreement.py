"""The asset that shows the result of the newest comparison with Verbex's list.

The asset and its check, which fails with the calls that differ, belong here. Reading the differences does
not: see `pipelines.reconciliation.comparison`.
"""

from collections.abc import Iterator

import dagster as dg

from pipelines.assets.metadata import Result, rows_value
from pipelines.names import AGREEMENT, AGREEMENT_CHECK, BACKFILL_JOB, PUBLISHED, VERIFY_JOB
from pipelines.reconciliation.comparison import Comparison, newest_span, read_comparison
from pipelines.resources import WarehouseResource

_MOST_ROWS = 100


def agreement_asset() -> dg.AssetsDefinition:
    """Build the asset that shows what the newest comparison found."""

    @dg.asset(
        name=AGREEMENT,
        deps=[PUBLISHED],
        group_name="proof",
        kinds={"duckdb"},
        description="The calls that differ from Verbex's own list, in the days that were compared last.",
        check_specs=[
            dg.AssetCheckSpec(
                AGREEMENT_CHECK,
                asset=AGREEMENT,
                description="No call differs, except where the missing part may still arrive.",
            )
        ],
    )
    def agreement(warehouse: dg.ResourceParam[WarehouseResource]) -> Iterator[Result]:
        span = newest_span(warehouse.folder)
        found = None if span is None else read_comparison(warehouse.folder, span)
        yield dg.MaterializeResult(metadata={} if found is None else _metadata(found))
        yield _not_compared() if found is None else _check_result(found)

    return agreement


def _metadata(found: Comparison) -> dict[str, dg.MetadataValue | float]:
    metadata: dict[str, dg.MetadataValue | float] = {
        "calls_that_differ": len(found.drift.rows),
        "differing_calls": rows_value(found.drift.columns, found.drift.rows[:_MOST_ROWS]),
        "completeness": rows_value(found.completeness.columns, found.completeness.rows[:_MOST_ROWS]),
    }
    if found.complete_percent is not None:
        metadata["complete_percent"] = found.complete_percent
    return metadata


def _not_compared() -> dg.AssetCheckResult:
    """Return a warning: nothing is known, so the check must not look as if all calls agreed."""
    return dg.AssetCheckResult(
        passed=False,
        check_name=AGREEMENT_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        description="Nothing was compared with Verbex's list yet.",
        metadata={"next_step": f"Run the job `{VERIFY_JOB}` or `verbex-sync verify`."},
    )


def _check_result(found: Comparison) -> dg.AssetCheckResult:
    settled = found.settled
    metadata: dict[str, dg.MetadataValue | int | str] = {"row_count": len(settled.rows)}
    if settled.rows:
        metadata["rows"] = rows_value(settled.columns, settled.rows[:_MOST_ROWS])
        metadata["next_step"] = f"Run the job `{BACKFILL_JOB}` or `verbex-sync backfill` for these days."
    return dg.AssetCheckResult(
        passed=not settled.rows,
        check_name=AGREEMENT_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )
