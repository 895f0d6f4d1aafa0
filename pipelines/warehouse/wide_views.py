"""The wide views of a warehouse file, made as its table `pca_views` describes them.

Making them belongs here. Their names, columns and definitions do not: see `sql/marts/pca_views.sql`.
"""

from collections.abc import Sequence

import duckdb

from pipelines.warehouse.catalog import quoted
from pipelines.warehouse.database import transaction

SCHEMA = "pca_wide"

_NEEDED = ("calls_enriched", "pca_views")


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views that are missing or have changed, and drop those that are not described any more.

    `ops.made_views` records the views that exist, so that a session that changed no column only reads two
    small tables.
    """
    if not _can_be_made(connection):
        return
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute("create table if not exists ops.made_views (view_name varchar, definition varchar)")
    wanted = connection.execute(
        "from pca_views anti join ops.made_views using (view_name, definition) select view_name, definition"
    ).fetchall()
    surplus = connection.execute(
        "from ops.made_views anti join pca_views using (view_name) select view_name"
    ).fetchall()
    if not wanted and not surplus:
        return
    with transaction(connection):
        _replace(connection, surplus, wanted)


def _can_be_made(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the tables that they are made of exist: one that can't be built may be missing."""
    found = (
        "select count(*) from duckdb_tables()"
        " where database_name = current_database() and list_contains(?, table_name)"
    )
    ((count,),) = connection.execute(found, [list(_NEEDED)]).fetchall()
    return int(count) == len(_NEEDED)


def _replace(
    connection: duckdb.DuckDBPyConnection, surplus: Sequence[tuple[str]], wanted: Sequence[tuple[str, str]]
) -> None:
    for (name,) in surplus:
        connection.execute(f"drop view {SCHEMA}.{quoted(name)}")
    for name, definition in wanted:
        connection.execute(f"create or replace view {SCHEMA}.{quoted(name)} as {definition}")
    connection.execute("delete from ops.made_views")
    connection.execute("insert into ops.made_views select view_name, definition from pca_views")
