"""The wide views of a warehouse file, made as its table `pca_views` describes them.

Making them belongs here. Their names, columns and definitions do not: see `sql/marts/pca_views.sql`.
"""

import duckdb

from pipelines.warehouse.catalog import quoted

SCHEMA = "pca_wide"


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views that are missing or have changed, and drop those that are not described any more.

    `ops.made_views` records the views that exist, so that a session that changed no column only reads two
    small tables.
    """
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
    connection.execute("begin")
    for (name,) in surplus:
        connection.execute(f"drop view {SCHEMA}.{quoted(name)}")
    for name, definition in wanted:
        connection.execute(f"create or replace view {SCHEMA}.{quoted(name)} as {definition}")
    connection.execute("delete from ops.made_views")
    connection.execute("insert into ops.made_views select view_name, definition from pca_views")
    connection.execute("commit")
