"""The differences between our tables and Verbex's own list of calls, read from the published tables.

Reading them belongs here. The rules for what differs do not: see `sql/marts/`. Asking Verbex does not either:
see `pipelines.reconciliation.sweep`.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder, Rows


@dataclass(frozen=True)
class Comparison:
    """The calls that differ, and how complete our tables are for each agent and day."""

    drift: Rows = field(default_factory=Rows)
    completeness: Rows = field(default_factory=Rows)

    @property
    def settled(self) -> Rows:
        """The calls that differ although nothing about them can still be on its way."""
        flags = self.drift.column("is_in_flight")
        rows = zip(self.drift.rows, flags, strict=True)
        return Rows(self.drift.columns, tuple(row for row, is_in_flight in rows if not is_in_flight))

    @property
    def complete_percent(self) -> float | None:
        """The share of the calls listed by Verbex that we have too [%]. None if it lists none."""
        there, both = (self.completeness.total(name) for name in ("calls_there", "calls_both"))
        return 100.0 * both / there if there else None


def read_comparison(folder: DataFolder, span: Span) -> Comparison:
    """Return what is known to differ in the calls of a span; empty if nothing is published."""
    return Comparison(
        drift=folder.query("call_drift_in_span", **span.parameters()),
        completeness=folder.query("completeness_in_span", **span.parameters()),
    )


def newest_span(folder: DataFolder) -> Span | None:
    """Return the days and agents that were compared last, or None if there was no comparison yet."""
    rows: tuple[Any, ...] = folder.query("newest_sweep").rows
    for since, until, agent_ids in rows:
        assert isinstance(since, date)  # noqa: S101 - the query gives dates
        return Span(since, until, tuple(agent_ids))
    return None
