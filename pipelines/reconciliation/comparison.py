"""What our tables and Verbex's own list of calls differ in: read from the tables, shown in Dagster.

Reading it belongs here, and how often Verbex is asked for it. What differs is said in `sql/marts/`, and
how Verbex is asked in `pipelines.reconciliation.sweep`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from pipelines.assets.metadata import rows_value
from pipelines.assets.tables import PUBLISHED, Result
from pipelines.enrichment.span import Span
from pipelines.models.model import read_query
from pipelines.resources import WarehouseResource

AGREEMENT = "agreement_with_verbex"
AGREEMENT_CHECK = "calls_agree_with_verbex"
VERIFY_JOB = "verify"
BACKFILL_JOB = "backfill"

_MOST_ROWS = 100
_IN_SPAN = "day between $since and $until and (len($agent_ids) = 0 or agent_id in $agent_ids)"
# A backfill follows the comparison and not the other way round: what webhooks lost is to be seen.
_SCHEDULES = ((VERIFY_JOB, "17 4 * * *"), (BACKFILL_JOB, "47 4 * * *"))


@dataclass(frozen=True)
class Rows:
    """Rows with the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def column(self, name: str) -> tuple[object, ...]:
        """The values of one column."""
        position = self.columns.index(name)
        return tuple(row[position] for row in self.rows)

    def total(self, name: str) -> int:
        """The sum of a column of counts."""
        return sum(count for count in self.column(name) if isinstance(count, int))


@dataclass(frozen=True)
class Comparison:
    """What differs, what of it can no longer be on its way, and how complete each day is."""

    drift: Rows
    completeness: Rows

    @property
    def settled(self) -> Rows:
        """The calls that differ and of which nothing can be on its way any more."""
        flags = self.drift.column("is_in_flight")
        rows = zip(self.drift.rows, flags, strict=True)
        return Rows(self.drift.columns, tuple(row for row, is_in_flight in rows if not is_in_flight))

    @property
    def complete_percent(self) -> float | None:
        """Calls on both sides, of those that Verbex lists; None if it lists none [%]."""
        there, both = (self.completeness.total(name) for name in ("calls_there", "calls_both"))
        return 100.0 * both / there if there else None


def agreement_asset() -> dg.AssetsDefinition:
    """What the newest comparison found, for all who look at Dagster."""

    @dg.asset(
        name=AGREEMENT,
        deps=[PUBLISHED],
        group_name="proof",
        kinds={"duckdb"},
        description="What differs from Verbex's own list in the days that were compared last.",
        check_specs=[
            dg.AssetCheckSpec(
                AGREEMENT_CHECK,
                asset=AGREEMENT,
                description="No call differs, but for those that ended minutes before they were compared.",
            )
        ],
    )
    def agreement(warehouse: WarehouseResource) -> Iterator[Result]:
        span = _newest_span(warehouse)
        found = None if span is None else read_comparison(warehouse, span)
        yield dg.MaterializeResult(metadata={} if found is None else _metadata(found))
        yield _check_result(found)

    return agreement


def proof_schedules(*, has_api_key: bool) -> list[dg.ScheduleDefinition]:
    """Yesterday and today compared, then repaired, every night (UTC), if Verbex can be asked."""
    return [_nightly(job_name, cron, has_api_key=has_api_key) for job_name, cron in _SCHEDULES]


def read_comparison(warehouse: WarehouseResource, span: Span) -> Comparison:
    """What is known to differ in the calls of a span.

    Raises:
        NothingPublishedError: No sync has published a warehouse yet.
    """
    return Comparison(
        drift=_read(warehouse, f"from call_drift where {_IN_SPAN} order by day, call_id", span),
        completeness=_read(
            warehouse, f"from completeness_daily where {_IN_SPAN} order by day, agent_id", span
        ),
    )


def _nightly(job_name: str, cron: str, *, has_api_key: bool) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"nightly_{job_name}",
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def nightly() -> dg.RunRequest | dg.SkipReason:
        if not has_api_key:
            return dg.SkipReason("VERBEX_API_KEY is not set, so Verbex can't be asked.")
        return dg.RunRequest()

    return nightly


def _newest_span(warehouse: WarehouseResource) -> Span | None:
    with warehouse.read() as connection:
        row = connection.execute(read_query(warehouse.sql, "newest_sweep")).fetchone()
    return None if row is None else Span(row[0], row[1], tuple(row[2]))


def _metadata(found: Comparison) -> dict[str, dg.MetadataValue | float]:
    metadata: dict[str, dg.MetadataValue | float] = {
        "calls_that_differ": len(found.drift.rows),
        "differing_calls": rows_value(found.drift.columns, found.drift.rows[:_MOST_ROWS]),
        "completeness": rows_value(found.completeness.columns, found.completeness.rows[:_MOST_ROWS]),
    }
    if found.complete_percent is not None:
        metadata["complete_percent"] = found.complete_percent
    return metadata


def _check_result(found: Comparison | None) -> dg.AssetCheckResult:
    settled = found.settled if found else Rows((), ())
    metadata: dict[str, dg.MetadataValue | int | str] = {"row_count": len(settled.rows)}
    if settled.rows:
        metadata["rows"] = rows_value(settled.columns, settled.rows[:_MOST_ROWS])
        metadata["next_step"] = f"Run the job `{BACKFILL_JOB}` for these days, or `verbex-sync backfill`."
    return dg.AssetCheckResult(
        passed=not settled.rows,
        check_name=AGREEMENT_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def _read(warehouse: WarehouseResource, sql: str, span: Span) -> Rows:
    asked = {"since": span.since, "until": span.until, "agent_ids": list(span.agent_ids)}
    with warehouse.read() as connection:
        result = connection.execute(sql, asked)
        return Rows(tuple(name for name, *_ in result.description or ()), tuple(result.fetchall()))
