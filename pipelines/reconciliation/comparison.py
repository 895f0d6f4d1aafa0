"""What our tables and Verbex's own list of calls differ in, read from the published tables.

Reading it belongs here. What differs is said in `sql/marts/`, and how Verbex is asked in
`pipelines.reconciliation.sweep`.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder, Rows


@dataclass(frozen=True)
class Comparison:
    """What differs, what of it can no longer be on its way, and how complete each day is."""

    drift: Rows = field(default_factory=Rows)
    completeness: Rows = field(default_factory=Rows)

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


def read_comparison(folder: DataFolder, span: Span) -> Comparison:
    """What is known to differ in the calls of a span; nothing while no tables are published."""
    return Comparison(
        drift=folder.query("call_drift_in_span", **span.parameters()),
        completeness=folder.query("completeness_in_span", **span.parameters()),
    )


def newest_span(folder: DataFolder) -> Span | None:
    """The days and agents that were compared last; None if there was no comparison yet."""
    rows: tuple[Any, ...] = folder.query("newest_sweep").rows
    for since, until, agent_ids in rows:
        assert isinstance(since, date)  # noqa: S101 - as the query gives it
        return Span(since, until, tuple(agent_ids))
    return None
