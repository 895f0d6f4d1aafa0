"""The dashboard for Superset itself: where its charts are, and its filters.

The charts do not belong here: see `pipelines.exports.superset_charts`.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.exports.superset_charts import COLORS, ROWS
from pipelines.exports.superset_database import Database

_HEIGHTS = {"big_number_total": 20}
_USUAL_HEIGHT = 46

_LAST_DAYS = "30 days ago : tomorrow"
"""The days that are shown at first, today included, as Superset reads them: by the clock of its server."""


def dashboard(database: Database, version: str) -> dict[str, Any]:
    """Return the file of the dashboard, in a version of Superset's format."""
    return {
        "dashboard_title": "Verbex calls",
        "description": f"Calls and their analyses, from {database.title}. Made by verbex-sync.",
        "published": True,
        "position": _position(database),
        "metadata": {
            "color_scheme": "supersetColors",
            "label_colors": COLORS,
            "cross_filters_enabled": True,
            "native_filter_configuration": _filters(database),
        },
        "uuid": database.identify("dashboard"),
        "version": version,
    }


def _position(database: Database) -> dict[str, Any]:
    rows = {f"ROW-{number}": row for number, row in enumerate(ROWS, start=1)}
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"id": "GRID_ID", "type": "GRID", "children": [*rows], "parents": ["ROOT_ID"]},
        "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": "Verbex calls"}},
    }
    number = 0
    for name, row in rows.items():
        places = [f"CHART-{number + place}" for place in range(1, len(row) + 1)]
        position[name] = {
            "id": name,
            "type": "ROW",
            "children": places,
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        for place, chart in zip(places, row, strict=True):
            number += 1
            position[place] = {
                "id": place,
                "type": "CHART",
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", name],
                "meta": {
                    "chartId": number,  # replaced by the importer, which finds the chart by its uuid
                    "uuid": database.identify("chart", chart.title),
                    "sliceName": chart.title,
                    "width": chart.width,
                    "height": _HEIGHTS.get(chart.kind, _USUAL_HEIGHT),
                },
            }
    return position


def _filters(database: Database) -> list[dict[str, Any]]:
    agents = {"datasetUuid": database.identify("dataset", "agent_daily"), "column": {"name": "agent_name"}}
    shown = {"extraFormData": {"time_range": _LAST_DAYS}, "filterState": {"value": _LAST_DAYS}}
    return [
        _filter("days", "filter_time", {}) | {"defaultDataMask": shown},
        _filter("agents", "filter_select", agents) | {"controlValues": {"multiSelect": True}},
    ]


def _filter(name: str, kind: str, target: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"NATIVE_FILTER-{name}",
        "type": "NATIVE_FILTER",
        "filterType": kind,
        "name": name.capitalize(),
        "description": "",
        "targets": [target],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
        "controlValues": {"enableEmptyFilter": False},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
    }
