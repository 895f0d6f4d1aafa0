"""The tables of models in a warehouse file, as they are stored and as people see them.

Making, copying and dropping them belongs here, in the caller's transaction. What is recorded about them does
not: see `pipelines.warehouse.ledger`.

A table with hidden columns is stored in the schema `stored`, for loads. What people see under its name is a
view of its other columns.
"""

from collections.abc import Mapping, Sequence

import duckdb

from pipelines.models.model import Model
from pipelines.models.relations import STORED
from pipelines.warehouse.catalog import columns_of, create_empty, qualified, quoted

_IS_STORED = """
    select count(*) > 0
    from duckdb_tables()
    where database_name = if($database = 'current', current_database(), $database)
        and schema_name || '.' || table_name = $name
"""

_COMMENTS = """
    select '', comment
    from (
        select database_name, schema_name, table_name, comment from duckdb_tables()
        union all
        select database_name, schema_name, view_name, comment from duckdb_views()
    )
    where database_name = 'other' and schema_name || '.' || table_name = $name and comment is not null
    union all
    select column_name, comment
    from duckdb_columns()
    where database_name = 'other' and schema_name || '.' || table_name = $name and comment is not null
"""


def create_table(connection: duckdb.DuckDBPyConnection, model: Model) -> dict[str, str]:
    """Create the empty table of `model`, with the columns of its header or else those of its SELECT.

    Returns:
        The types of its columns, by name.
    """
    columns = [(column.name, column.type) for column in model.columns]
    create_empty(connection, f"table {model.stored}", columns or columns_of(connection, model.sql))
    comments = {column.name: column.description for column in model.shown_columns}
    _show(connection, model, [*comments], {"": model.description, **comments})
    return dict(columns_of(connection, f"from {model.stored}"))


def copy_table(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Copy the table of `model` from the file attached as `other`, with what people see of it there."""
    is_stored = _is_stored(connection, "other", model.stored)
    source = model.stored if is_stored else qualified(model.table)
    connection.execute(f"create table {model.stored} as from other.{source}")
    shown = [name for name, _ in columns_of(connection, f"from other.{qualified(model.table)}")]
    hidden = {column.name for column in model.columns if column.is_hidden}
    comments = connection.execute(_COMMENTS, {"name": qualified(model.table)}).fetchall()
    _show(connection, model, [name for name in shown if name not in hidden], dict(comments))


def drop_table(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Drop a table if it is there, whether or not it hides columns."""
    if _is_stored(connection, "current", f"{STORED}.{table}"):
        connection.execute(f"drop view if exists {table}")
        connection.execute(f"drop table {STORED}.{table}")
    else:
        connection.execute(f"drop table if exists {table}")


def _show(
    connection: duckdb.DuckDBPyConnection, model: Model, columns: Sequence[str], comments: Mapping[str, str]
) -> None:
    """Make the view of these columns if the table is none that people see, and comment on what they see."""
    kind = "table"
    if model.stored != model.table:
        kind = "view"
        listed = ", ".join(map(quoted, columns))
        connection.execute(f"create view {qualified(model.table)} as select {listed} from {model.stored}")
        _comment(connection, f"table {model.stored}", f"For loads. Read {model.table}.")
    _comment(connection, f"{kind} {model.table}", comments.get("", ""))
    for column in columns:
        if column in comments:
            _comment(connection, f"column {model.table}.{quoted(column)}", comments[column])


def _comment(connection: duckdb.DuckDBPyConnection, subject: str, text: str) -> None:
    connection.execute(f"comment on {subject} is '{text.replace(chr(39), chr(39) * 2)}'")


def _is_stored(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> bool:
    ((is_stored,),) = connection.execute(_IS_STORED, {"database": database, "name": name}).fetchall()
    return bool(is_stored)
