"""A chart as Superset keeps it: the form that a person would fill in, and the query that it makes.

How Superset names things belongs here. What is shown does not: see `pipelines.exports.superset_charts`.

The form is what a browser draws from. The query is what alerts and programs ask for, without a browser.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.exports.superset_charts import COUNT, DAY, Chart, Metric, Table

_ROW_LIMIT = 50_000
_ALWAYS = "No filter"

_DRAWN: Mapping[str, Mapping[str, object]] = {
    "big_number_total": {"header_font_size": 0.4},
    "echarts_timeseries_bar": {"show_legend": True, "rich_tooltip": True, "legendType": "scroll"},
    "echarts_timeseries_line": {"show_legend": True, "rich_tooltip": True, "markerEnabled": True},
    "heatmap_v2": {
        "linear_color_scheme": "superset_seq_1",
        "normalize_across": "heatmap",
        "show_legend": True,
        "sort_x_axis": "alpha_asc",
        "sort_y_axis": "alpha_desc",
        "bottom_margin": 50,
        "left_margin": 60,
        "value_bounds": [None, None],
        "xscale_interval": -1,
        "yscale_interval": -1,
    },
    "pie": {"donut": True, "label_type": "value_percent", "show_labels": True, "show_legend": True},
}


def form_of(chart: Chart, table: Table) -> dict[str, Any]:
    """Return the form of a chart, as it is without a dashboard's filters."""
    number_format = _metrics(chart, table)[0].number_format
    form: dict[str, Any] = {
        "viz_type": chart.kind,
        "color_scheme": "supersetColors",
        "row_limit": _ROW_LIMIT,
        "y_axis_format": number_format,
        "number_format": number_format,
        "adhoc_filters": [_any_day()],
        **_DRAWN[chart.kind],
        **chart.form,
    }
    if chart.kind.startswith("echarts_timeseries"):
        form |= {"x_axis": chart.by[0], "groupby": [*chart.by[1:]], "metrics": [*chart.metrics]}
        form |= _time_axis() if chart.by[0] == DAY else _category_axis(chart)
    elif chart.kind == "heatmap_v2":
        form |= {"x_axis": chart.by[0], "groupby": chart.by[1], "metric": chart.metrics[0]}
    elif chart.kind == "pie":
        form |= {"groupby": [*chart.by], "metric": chart.metrics[0], "sort_by_metric": True}
    else:
        form |= {"metric": chart.metrics[0]}
    return form


def description_of(chart: Chart, table: Table) -> str:
    """Return what a chart's numbers mean, which Superset shows beside its title."""
    return "; ".join(f"{metric.title}: {metric.description}" for metric in _metrics(chart, table))


def query_of(chart: Chart) -> dict[str, Any]:
    """Return the query of a chart: one row for each group, largest first."""
    return {
        "columns": [*chart.by],
        "metrics": [*chart.metrics],
        "filters": [{"col": DAY, "op": "TEMPORAL_RANGE", "val": _ALWAYS}],
        "orderby": [[chart.metrics[0], False]] if chart.by else [],
        "row_limit": _ROW_LIMIT,
    }


def _metrics(chart: Chart, table: Table) -> list[Metric]:
    return [metric for metric in table.metrics if metric.name in chart.metrics]


def _any_day() -> dict[str, Any]:
    """Return the condition that a dashboard's time range takes the place of."""
    return {
        "clause": "WHERE",
        "expressionType": "SIMPLE",
        "subject": DAY,
        "operator": "TEMPORAL_RANGE",
        "comparator": _ALWAYS,
    }


def _time_axis() -> dict[str, Any]:
    return {"time_grain_sqla": "P1D", "x_axis_time_format": "%d %b", "tooltipTimeFormat": "%Y-%m-%d"}


def _category_axis(chart: Chart) -> dict[str, Any]:
    return {
        "x_axis_sort": chart.metrics[0],
        "x_axis_sort_asc": chart.form.get("orientation") == "horizontal",  # which is drawn from below
        "xAxisForceCategorical": True,
        "x_axis_number_format": COUNT,
    }
