"""How far a table is behind: the age of the newest receipt that it was made from.

Only finding that out belongs here, without reading a table. What is shown of it is
`pipelines.assets.metadata`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import duckdb

from pipelines.models.model import Model
from pipelines.warehouse.sources import source_of


def measure_lag(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Sequence[Model], as_of: datetime
) -> float | None:
    """How long before `as_of` the newest delivery or answer was received that a table was made from.

    Args:
        connection: Where the table is.
        model: Whose table, one of `models`.
        models: All of them.
        as_of: UTC.

    Returns:
        Seconds; None if nothing was received yet, or the table is made from nothing that is received.
    """
    # The tables that load from landing know their receipts; any other is as new as those it is made from.
    loaded = sorted(_loaded_tables(model, {each.table: each for each in models}))
    if not loaded:
        return None
    # Nothing is scanned: of a column that mostly grows, DuckDB finds the end by its statistics.
    newest = " union all ".join(
        f"(select {column} as received_at from {table} order by {column} desc limit 1)"
        for table, column in loaded
    )
    ((received_at,),) = connection.execute(f"select max(received_at) from ({newest})").fetchall()
    return None if received_at is None else (as_of - received_at.replace(tzinfo=UTC)).total_seconds()


def _loaded_tables(model: Model, models: Mapping[str, Model]) -> Iterator[tuple[str, str]]:
    """The tables that `model` is made from in the end, itself included, and their columns of receipt."""
    seen = {model.table}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if source_of(one):
            yield one.table, one.received_column
        upstream = (one.upstream & models.keys()) - seen
        seen |= upstream
        waiting += [models[table] for table in upstream]
