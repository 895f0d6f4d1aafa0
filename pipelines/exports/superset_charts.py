"""What the dashboard for Apache Superset shows: its charts, their metrics, and the tables that these read.

Definitions belong here, as SQL that PostgreSQL and DuckDB both run. The files that Superset imports do not:
see `pipelines.exports.superset` and `pipelines.exports.superset_forms`.

Shares are sums divided by sums, never means of shares, so that they are right for any days and agents chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY = "day"
"""The column by which charts are filtered: a date of VERBEX_TIME_ZONE, which no session moves."""

COUNT, SHARE, SECONDS = ",d", ",.1%", ",.1f"
"""How numbers are written, in the language of d3."""


@dataclass(frozen=True)
class Metric:
    """A number computed from the rows of a table."""

    name: str
    title: str
    expression: str
    description: str
    number_format: str = COUNT


@dataclass(frozen=True)
class Table:
    """A table with what Superset computes from it. `columns` are expressions by name."""

    name: str
    metrics: tuple[Metric, ...]
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart of one table.

    Attributes:
        title: What stands above it.
        kind: Superset's name of its kind.
        table: The table that it reads.
        metrics: The names of its numbers.
        by: The columns by which rows are grouped; of a chart with axes the first is the x-axis.
        form: What is set in Superset's form of that kind beyond this.
        width: Its width on the dashboard, of 12.
    """

    title: str
    kind: str
    table: str
    metrics: tuple[str, ...]
    by: tuple[str, ...] = ()
    form: Mapping[str, object] = field(default_factory=dict)
    width: int = 6


COLORS = {
    **dict.fromkeys(("completed", "fetched_analyses", "contained_calls"), "#1FA8C9"),
    **dict.fromkeys(("in_progress", "pending_analyses"), "#FCC700"),
    "failed_analyses": "#E04355",
    "unavailable_analyses": "#666666",
    **dict.fromkeys(("p50_duration_s", "p50_pca_delay_s"), "#1FA8C9"),
    **dict.fromkeys(("transferred_calls", "p95_duration_s", "p95_pca_delay_s"), "#454E7C"),
}
"""The colors of values and metrics, which else depend on which is larger in the days that are chosen."""

_COMPLETED = "SUM(CASE WHEN status = 'completed' THEN 1 ELSE 0 END)"
_CONTAINED = "SUM(CASE WHEN status = 'completed' AND transferred_at IS NULL THEN 1 ELSE 0 END)"
_TRANSFERRED = "SUM(CASE WHEN status = 'completed' AND transferred_at IS NOT NULL THEN 1 ELSE 0 END)"
_DELAY = "CASE WHEN pca_status <> 'failed' THEN pca_lag_s END"


def _percentile(share: float, value: str) -> str:
    return f"PERCENTILE_CONT({share}) WITHIN GROUP (ORDER BY {value})"


TABLES = (
    Table(
        "agent_daily",
        (
            Metric("total_calls", "Calls", "SUM(calls)", "calls"),
            Metric("fetched_analyses", "fetched", "SUM(pca_fetched)", "analyses that are here"),
            Metric("pending_analyses", "pending", "SUM(pca_pending)", "analyses that are still to come"),
            Metric("failed_analyses", "failed", "SUM(pca_failed)", "analyses that failed at Verbex"),
            Metric(
                "unavailable_analyses",
                "unavailable",
                "SUM(pca_unavailable)",
                "analyses that are not asked for any more",
            ),
            Metric(
                "pca_coverage",
                "PCA coverage",
                "SUM(pca_fetched) * 1.0 / NULLIF(SUM(pca_due), 0)",
                "analyses that are here, of those that are due: one for each completed call",
                SHARE,
            ),
        ),
    ),
    Table(
        "agent_hourly",
        (Metric("total_calls", "Calls", "SUM(calls)", "calls"),),
        {
            "hour_of_day": "LPAD(CAST(hour AS VARCHAR), 2, '0')",
            "day_of_week": "CASE weekday WHEN 1 THEN '1 Mon' WHEN 2 THEN '2 Tue' WHEN 3 THEN '3 Wed'"
            " WHEN 4 THEN '4 Thu' WHEN 5 THEN '5 Fri' WHEN 6 THEN '6 Sat' ELSE '7 Sun' END",
        },
    ),
    Table(
        "calls_enriched",
        (
            Metric("total_calls", "Calls", "COUNT(*)", "calls"),
            Metric("contained_calls", "contained", _CONTAINED, "completed calls that were not transferred"),
            Metric("transferred_calls", "transferred", _TRANSFERRED, "completed calls that were transferred"),
            Metric(
                "containment",
                "Contained",
                f"{_CONTAINED} * 1.0 / NULLIF({_COMPLETED}, 0)",
                "completed calls that were not transferred, of all completed calls",
                SHARE,
            ),
            Metric(
                "p50_duration_s",
                "median",
                _percentile(0.5, "duration_s"),
                "the duration that half of the calls with known start and end do not exceed [s]",
                SECONDS,
            ),
            Metric(
                "p95_duration_s",
                "95 of 100",
                _percentile(0.95, "duration_s"),
                "the duration that 95 of 100 of the same calls do not exceed [s]",
                SECONDS,
            ),
            Metric(
                "p50_pca_delay_s",
                "median",
                _percentile(0.5, _DELAY),
                "from the end of a call to the announcement of its analysis, failed ones left out [s]",
                SECONDS,
            ),
            Metric(
                "p95_pca_delay_s",
                "95 of 100",
                _percentile(0.95, _DELAY),
                "the delay that 95 of 100 of the same analyses do not exceed [s]",
                SECONDS,
            ),
        ),
    ),
)

_UP_TO_ALL = {"y_axis_bounds": [0, 1], "truncateYAxis": True}
_SIDEWAYS = {"orientation": "horizontal", "show_value": True}
_STACKED = {"stack": "Stack"}

ROWS = (
    (
        Chart("Calls", "big_number_total", "agent_daily", ("total_calls",), width=3),
        Chart("Contained calls", "big_number_total", "calls_enriched", ("containment",), width=3),
        Chart("PCA coverage", "big_number_total", "agent_daily", ("pca_coverage",), width=3),
        Chart("Median duration (s)", "big_number_total", "calls_enriched", ("p50_duration_s",), width=3),
    ),
    (
        Chart(
            "Calls by day and agent",
            "echarts_timeseries_bar",
            "agent_daily",
            ("total_calls",),
            (DAY, "agent_name"),
            form=_STACKED,
            width=8,
        ),
        Chart("Calls by status", "pie", "calls_enriched", ("total_calls",), ("status",), width=4),
    ),
    (
        Chart(
            "Analyses (PCA) by day of the call",
            "echarts_timeseries_bar",
            "agent_daily",
            ("fetched_analyses", "pending_analyses", "failed_analyses", "unavailable_analyses"),
            (DAY,),
            form=_STACKED,
        ),
        Chart(
            "PCA coverage by day",
            "echarts_timeseries_line",
            "agent_daily",
            ("pca_coverage",),
            (DAY,),
            form=_UP_TO_ALL,
        ),
    ),
    (
        Chart(
            "Duration of calls by day (s)",
            "echarts_timeseries_line",
            "calls_enriched",
            ("p50_duration_s", "p95_duration_s"),
            (DAY,),
        ),
        Chart(
            "Transfers: completed calls by agent",
            "echarts_timeseries_bar",
            "calls_enriched",
            ("contained_calls", "transferred_calls"),
            ("agent_name",),
            form=_SIDEWAYS | _STACKED,
        ),
    ),
    (
        Chart(
            "Busiest hours",
            "heatmap_v2",
            "agent_hourly",
            ("total_calls",),
            ("hour_of_day", "day_of_week"),
        ),
        Chart(
            "Delay of analyses (PCA) by agent (s)",
            "echarts_timeseries_bar",
            "calls_enriched",
            ("p50_pca_delay_s", "p95_pca_delay_s"),
            ("agent_name",),
            form=_SIDEWAYS,
        ),
    ),
)
"""The charts of the dashboard, row by row."""
