"""The names, columns and attached files of a DuckDB connection, from which SQL is composed.

Only the catalog belongs here. Which tables exist, and what they contain, does not.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from pipelines.models.model import Model
from pipelines.models.sql_file import Column


def quoted(name: str) -> str:
    """Return a name as an SQL identifier. Any characters are allowed in it."""
    return '"' + name.replace('"', '""') + '"'


def alike(one: str, other: str, names: Iterable[str]) -> str:
    """Return the condition by which rows of two relations are alike in columns. Null is like null."""
    columns = map(quoted, names)
    return " and ".join(f"{one}.{name} is not distinct from {other}.{name}" for name in columns) or "true"


def qualified(table: str) -> str:
    """Return a table's name with its schema, so that the name of an attached file can go before it."""
    return table if "." in table else f"main.{table}"


def columns_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, str]]:
    """Return the names and types of the columns of a SELECT."""
    return [(name, kind) for name, kind, *_ in connection.execute(f"describe {sql}").fetchall()]


def describe_columns(connection: duckdb.DuckDBPyConnection, model: Model) -> tuple[Column, ...]:
    """Return the columns of the table of `model`, from its header or else from the table itself."""
    return model.columns or tuple(
        Column(name, kind.lower(), "") for name, kind in columns_of(connection, f"from {model.table}")
    )


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Let `connection` read the warehouse file `path` as `name`."""
    listed = str(path).replace("'", "''")
    connection.execute(f"attach '{listed}' as {name} (read_only)")


def create_empty(
    connection: duckdb.DuckDBPyConnection, what: str, columns: Sequence[tuple[str, str]]
) -> None:
    """Create an empty table from its column names and types.

    Do not use `create table ... as ... limit 0` for this: filters and joins then do not find rows that are
    inserted in order in the same transaction (DuckDB 2.0.0, from about 120,000 rows).
    """
    listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
    connection.execute(f"create or replace {what} ({listed})")
