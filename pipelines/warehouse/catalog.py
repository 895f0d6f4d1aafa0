"""Names, columns and attached files of a DuckDB connection: what any SQL of ours is put together from.

Only the catalog belongs here. Which tables there are, and what is in them, does not.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipelines.models.model import Model
from pipelines.models.sql_file import Column


def quoted(name: str) -> str:
    """A name as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def qualified(table: str) -> str:
    """A table's name with its schema, to which the name of an attached file can be added."""
    return table if "." in table else f"main.{table}"


def columns_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, str]]:
    """Names and types of the columns that a SELECT gives."""
    return [(name, kind) for name, kind, *_ in connection.execute(f"describe {sql}").fetchall()]


def describe_columns(connection: duckdb.DuckDBPyConnection, model: Model) -> tuple[Column, ...]:
    """The columns of the table of `model` as its header describes them, or else as they are in the table."""
    return model.columns or tuple(
        Column(name, kind.lower(), "") for name, kind in columns_of(connection, f"from {model.table}")
    )


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Let `connection` read the warehouse file `path` under `name`."""
    listed = str(path).replace("'", "''")
    connection.execute(f"attach '{listed}' as {name} (read_only)")


def create_empty(
    connection: duckdb.DuckDBPyConnection, what: str, columns: Sequence[tuple[str, str]]
) -> None:
    """Create an empty table, from its column names and types.

    Never by `create table ... as ... limit 0`: rows that are then inserted in order and in the same
    transaction are not found again by filters and joins (DuckDB 2.0.0, from some 120,000 rows on).
    """
    listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
    connection.execute(f"create or replace {what} ({listed})")
