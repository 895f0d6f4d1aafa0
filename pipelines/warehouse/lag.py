"""The lag of a table: the age of the newest delivery or answer that it was made from.

Finding it without reading a whole table belongs here. Showing it does not: see `pipelines.assets.metadata`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import duckdb

from pipelines.models.model import Model
from pipelines.warehouse.sources import source_of


def measure_lag(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Sequence[Model], as_of: datetime
) -> float | None:
    """Return how long before `as_of` the newest delivery or answer in the table of `model` was received.

    Args:
        connection: A connection to the file with the table.
        model: The model of the table, one of `models`.
        models: All models.
        as_of: UTC.

    Returns:
        Seconds. None if nothing was received yet, or if the table is made from nothing that is received.
    """
    # Only tables that load from landing know times of receipt. Any other is as new as those it is made from.
    loaded = sorted(_loaded_tables(model, {each.table: each for each in models}))
    if not loaded:
        return None
    # `order by ... limit 1` scans nothing: DuckDB's statistics lead to the end of a column that mostly grows.
    newest = " union all ".join(
        f"(select {column} as received_at from {table} order by {column} desc limit 1)"
        for table, column in loaded
    )
    ((received_at,),) = connection.execute(f"select max(received_at) from ({newest})").fetchall()
    return None if received_at is None else (as_of - received_at).total_seconds()


def _loaded_tables(model: Model, models: Mapping[str, Model]) -> Iterator[tuple[str, str]]:
    """Yield the tables loaded from landing that `model` is made from, or is, and their columns of receipt."""
    seen = {model.table}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if source_of(one):
            yield one.stored, one.received_column
        upstream = (one.upstream & models.keys()) - seen
        seen |= upstream
        waiting += [models[table] for table in upstream]
