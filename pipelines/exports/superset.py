"""A dashboard for Apache Superset, as the bundle of files that it imports.

Which files there are, and how they refer to each other, belongs here. What the charts show does not: see
`pipelines.exports.superset_charts`. Superset itself is not needed to write one.

Every object has an identity that follows from the database and its name, so importing a bundle again changes
what is there, and doubles nothing. The same input gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.postgresql import SCHEMA
from pipelines.exports.superset_charts import COLORS, DAY, ROWS, TABLES, Chart, Table
from pipelines.exports.superset_forms import description_of, form_of, query_of
from pipelines.exports.target import TargetError
from pipelines.models.model import Model
from pipelines.models.sql_file import Column

_File = dict[str, Any]

_VERSION = "1.0.0"
_NAMESPACE = UUID("5f3c1c0e-5a0b-5a0e-9a55-7c3f2b9f6a10")
_ROOT = "verbex_sync"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold

_MASK = "XXXXXXXXXX"
"""What Superset writes in place of a password. It asks for the password when it imports one."""

# Superset takes what a session returns for UTC: with another zone days would be shown as the days before.
_UTC_POSTGRESQL = "-c timezone=UTC"
_UTC_DUCKDB = "timezone=UTC"  # in small letters, or duckdb-engine sets it before DuckDB knows it

_HEIGHTS = {"big_number_total": 20}
_USUAL_HEIGHT = 46

_LAST_DAYS = "30 days ago : tomorrow"
"""The days that are shown at first, today included, as Superset reads them: by the clock of its server."""


class UnusableDatabaseError(TargetError):
    """A database that no bundle can be written for."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Database:
    """A database as Superset connects to it.

    Attributes:
        title: Its name for people, without a user. What is made for it is found again by this name.
        url: Its SQLAlchemy URL, without a password.
        schema: The schema of the tables.
    """

    title: str
    url: str
    schema: str


def postgresql_database(address: Address) -> Database:
    """Return the database to which an address exports.

    Raises:
        UnusableDatabaseError: It is no address of PostgreSQL.
    """
    if address.kind not in ("postgresql", "postgres"):
        raise UnusableDatabaseError(
            f"{address} is no database that Superset reads. Write --to postgresql://user@host/database, or "
            "leave --to away for the DuckDB file."
        )
    schema = address.options.get("schema") or SCHEMA
    try:
        options = f"{address.options.get('options', '')} {_UTC_POSTGRESQL}".strip()
        url = Address(address.without("schema")).without_secrets(_MASK, options=options)
    except ValueError:
        raise UnusableDatabaseError(
            f"{address} can't be read: leave the password out, or write its special characters as %40 for @."
        ) from None
    title = f"Verbex ({address.place}, {schema})"
    return Database(title, url.replace("postgres://", "postgresql://", 1), schema)


def duckdb_file(path: Path) -> Database:
    """Return the published DuckDB file, which is opened read-only.

    Raises:
        UnusableDatabaseError: No URL of SQLAlchemy can name it.
    """
    path = path.absolute()
    if "?" in str(path):
        raise UnusableDatabaseError(
            f"{path} can't be named in a URL: it has a question mark. Rename the folder."
        )
    # in the URL and not in Superset's form for parameters, which a person may empty
    return Database(f"Verbex ({path})", f"duckdb:///{path}?access_mode=READ_ONLY&{_UTC_DUCKDB}", "main")


def write_bundle(path: Path, database: Database, models: Sequence[Model]) -> int:
    """Write the bundle of a database whose tables are those of `models`, and return its number of charts.

    Raises:
        TargetError: The file can't be written.
    """
    columns = {model.table: model.columns for model in models}
    aside = path.with_name(f".{path.name}.partial")
    try:
        with ZipFile(aside, "w") as bundle:
            for name, content in _files(database, columns):
                text = json.dumps(content, ensure_ascii=False, indent=1)  # which is YAML, too
                bundle.writestr(_entry(name), text.encode(), ZIP_DEFLATED)
        aside.replace(path)
    except OSError as error:
        raise TargetError(f"{path} can't be written: {error.strerror}. Name another file.") from error
    return len(_charts())


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(f"{_ROOT}/{name}", _LONG_AGO)
    entry.external_attr = 0o644 << 16
    return entry


def _files(database: Database, columns: Mapping[str, Sequence[Column]]) -> Iterator[tuple[str, _File]]:
    """Yield each file with what it holds. Metadata without a type is taken by every importer of Superset."""
    yield "metadata.yaml", {"version": _VERSION}
    yield "databases/verbex.yaml", _database(database)
    for table in TABLES:
        yield f"datasets/verbex/{table.name}.yaml", _dataset(database, table, columns[table.name])
    for number, chart in enumerate(_charts(), start=1):
        yield f"charts/chart_{number:02}.yaml", _chart(database, chart)
    yield "dashboards/verbex.yaml", _dashboard(database)


def _charts() -> list[Chart]:
    return [chart for row in ROWS for chart in row]


def _id(database: Database, kind: str, name: str = "") -> str:
    return str(uuid5(_NAMESPACE, f"{database.title} {kind} {name}"))


def _database(database: Database) -> _File:
    return {
        "database_name": database.title,
        "sqlalchemy_uri": database.url,
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_csv_upload": False,
        "extra": {"allows_virtual_table_explore": True},
        "uuid": _id(database, "database"),
        "version": _VERSION,
    }


def _dataset(database: Database, table: Table, columns: Sequence[Column]) -> _File:
    kept = [column for column in columns if not column.name.endswith("_hash")]
    return {
        "table_name": table.name,
        "schema": database.schema,
        "main_dttm_col": DAY,
        "filter_select_enabled": True,
        "columns": [_column(column) for column in kept]
        + [_computed(name, expression) for name, expression in table.columns.items()],
        "metrics": [
            {
                "metric_name": metric.name,
                "verbose_name": metric.title,
                "expression": metric.expression,
                "description": metric.description,
                "d3format": metric.number_format,
            }
            for metric in table.metrics
        ],
        "uuid": _id(database, "dataset", table.name),
        "database_uuid": _id(database, "database"),
        "version": _VERSION,
    }


def _column(column: Column) -> _File:
    return {
        "column_name": column.name,
        "type": column.type.upper(),
        "description": column.description,
        "is_dttm": column.type in ("date", "timestamp", "timestamptz"),
        "groupby": True,
        "filterable": True,
    }


def _computed(name: str, expression: str) -> _File:
    return {
        "column_name": name,
        "type": "VARCHAR",
        "expression": expression,
        "is_dttm": False,
        "groupby": True,
        "filterable": True,
    }


def _chart(database: Database, chart: Chart) -> _File:
    (table,) = (table for table in TABLES if table.name == chart.table)
    form = form_of(chart, table)
    result = {"result_format": "json", "result_type": "full"}
    context = {"form_data": form, "queries": [query_of(chart)], **result}
    return {
        "slice_name": chart.title,
        "description": description_of(chart, table),
        "viz_type": chart.kind,
        "params": form,
        "query_context": json.dumps(context, ensure_ascii=False),
        "dataset_uuid": _id(database, "dataset", chart.table),
        "uuid": _id(database, "chart", chart.title),
        "version": _VERSION,
    }


def _dashboard(database: Database) -> _File:
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
        "uuid": _id(database, "dashboard"),
        "version": _VERSION,
    }


def _position(database: Database) -> _File:
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
                    "uuid": _id(database, "chart", chart.title),
                    "sliceName": chart.title,
                    "width": chart.width,
                    "height": _HEIGHTS.get(chart.kind, _USUAL_HEIGHT),
                },
            }
    return position


def _filters(database: Database) -> list[dict[str, Any]]:
    agents = {"datasetUuid": _id(database, "dataset", "agent_daily"), "column": {"name": "agent_name"}}
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
