"""The tables of the log of changes in a warehouse file, and the SQL of one entry.

Only these belong here. When entries are made does not: see `pipelines.warehouse.change_log`.
"""

import duckdb

from pipelines.models.model import Model
from pipelines.warehouse.catalog import columns_of, qualified, quoted
from pipelines.warehouse.changes import DAY, identity_of

_ENTRY = {"model": "varchar", "key": "varchar[]", "days": "date[]", "digest": "ubigint"}
TABLES = {
    "changing": _ENTRY,
    "changes": {"number": "bigint"} | _ENTRY,
    "publishes": {"number": "bigint", "id": "uuid", "published_at": "timestamp with time zone"},
}

COLUMNS = frozenset({"_is_new", "_differs", "_days", "_digest"})
"""Columns of ours beside those of a table while its entries are made."""

WHOLE = "select distinct model from {name} where len(key) = 0"
"""The tables that may have changed as a whole."""

# A table that is missing would end the transaction.
_EXISTING = """
    select column_name, data_type
    from duckdb_columns()
    where database_name = if($database = 'current', current_database(), $database)
        and schema_name = $schema and table_name = $name
    order by column_index
"""


def existing_columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    """Return the names and types of a table's columns, empty if there is no such table."""
    database, schema, name = ("current", *table.split("."))[-3:]
    found = connection.execute(_EXISTING, {"database": database, "schema": schema, "name": name})
    return found.fetchall()


def entry_of(connection: duckdb.DuckDBPyConnection, model: Model, is_new: str = "") -> tuple[str, str]:
    """Return the SQL of a key as the log holds it, and the columns of its entry, grouped by key."""
    columns = columns_of(connection, f"from {qualified(model.stored)}")
    keys = [quoted(key) for key in identity_of(model)]
    days = f"list(distinct {DAY}) filter ({DAY} is not null)" if (DAY, "DATE") in columns else "null::date[]"
    names = ", ".join(quoted(name) for name, _ in sorted(columns))
    digest = f"hash(sum(hash({names})) {is_new})"
    entry = [*keys, f"{days} as _days", f"{digest} as _digest"]
    return f"[{', '.join(f'{key}::varchar' for key in keys)}]::varchar[]", ", ".join(entry)
