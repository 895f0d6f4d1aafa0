"""What a table tells of itself: how far it is behind, and its columns where no header describes them.

Only looking that up belongs here, without reading a table. What is shown of it is
`pipelines.assets.metadata`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from pipelines.models.model import Column, Model
from pipelines.warehouse.ledger import columns_of
from pipelines.warehouse.sources import source_of


@dataclass(frozen=True)
class TableFacts:
    """Facts about a table as of a moment.

    `lag_s` is how long before it the newest delivery or answer was received that the table was made from;
    None if nothing was received yet, or it is made from nothing that is received.
    """

    lag_s: float | None
    columns: tuple[Column, ...]


def look_up(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Sequence[Model], as_of: datetime
) -> TableFacts:
    """The facts about the table of `model`, one of `models`, as of `as_of`."""
    columns = model.columns or tuple(
        Column(name, kind.lower(), "") for name, kind in columns_of(connection, f"from {model.table}")
    )
    return TableFacts(_lag_s(connection, model, models, as_of), columns)


def _lag_s(
    connection: duckdb.DuckDBPyConnection, model: Model, models: Sequence[Model], as_of: datetime
) -> float | None:
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
