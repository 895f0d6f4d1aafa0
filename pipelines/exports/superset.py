"""A dashboard for Apache Superset, as the bundle of files that it imports.

Which files there are, and how they refer to each other, belongs here. What the charts show does not: see
`pipelines.exports.superset_charts`, `..._forms` and `..._dashboard`. Superset is not needed to write one.

Every object has an identity that follows from the database and its name, so importing a bundle again changes
what is there, and doubles nothing. The same input gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pipelines.exports.superset_charts import DAY, ROWS, TABLES, Chart, Table
from pipelines.exports.superset_dashboard import dashboard
from pipelines.exports.superset_database import Database
from pipelines.exports.superset_forms import description_of, form_of, query_of
from pipelines.exports.target import TargetError
from pipelines.models.model import Model
from pipelines.models.sql_file import Column

_File = dict[str, Any]

_VERSION = "1.0.0"
_ROOT = "verbex_sync"
_CHARTS = [chart for row in ROWS for chart in row]
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


def write_bundle(path: Path, database: Database, models: Sequence[Model]) -> int:
    """Write the bundle of a database whose tables are those of `models`, and return its number of charts.

    Raises:
        TargetError: The file can't be written, or a table that the dashboard reads is in no model.
    """
    columns = {model.table: model.columns for model in models}
    if missing := [table.name for table in TABLES if table.name not in columns]:
        raise TargetError(f"A dashboard reads {', '.join(missing)}, which your SQL does not make any more.")
    aside = path.with_name(f".{path.name}.partial")
    try:
        with ZipFile(aside, "w") as bundle:
            for name, content in _files(database, columns):
                text = json.dumps(content, ensure_ascii=False, indent=1)  # which is YAML, too
                bundle.writestr(_entry(name), text.encode(), ZIP_DEFLATED)
        aside.replace(path)
    except OSError as error:
        raise TargetError(f"{path} can't be written: {error.strerror}. Name another file.") from error
    finally:
        with suppress(OSError):
            aside.unlink()
    return len(_CHARTS)


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
    for number, chart in enumerate(_CHARTS, start=1):
        yield f"charts/chart_{number:02}.yaml", _chart(database, chart)
    yield "dashboards/verbex.yaml", dashboard(database, _VERSION)


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
        "uuid": database.identify("database"),
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
        "uuid": database.identify("dataset", table.name),
        "database_uuid": database.identify("database"),
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
        "dataset_uuid": database.identify("dataset", chart.table),
        "uuid": database.identify("chart", chart.title),
        "version": _VERSION,
    }
