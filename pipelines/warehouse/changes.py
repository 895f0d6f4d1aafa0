"""What changed in the published tables since an earlier publish, read from the log of a warehouse file.

Reading belongs here. Writing the log does not: see `pipelines.warehouse.change_log`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import duckdb

from pipelines.models.model import Model
from pipelines.models.rule import RULES
from pipelines.warehouse.catalog import columns_of, qualified, quoted

_NESTED = re.compile(r"^(MAP|STRUCT|UNION)\(|\]$")

DAY = "day"
"""The column by which changed rows are also found by day."""


@dataclass(frozen=True)
class Publish:
    """One publish of the warehouse: its number, one higher than the one before, its id and its time (UTC)."""

    number: int
    id: UUID
    published_at: datetime


def is_public(model: Model) -> bool:
    """Return whether a model's table is for readers."""
    return model.table == model.name


def is_logged(model: Model) -> bool:
    """Return whether the log has the changes of a model's table: it is for readers, or a rule's."""
    return is_public(model) or model.table == f"{RULES}.{model.name}"


def identity_of(model: Model) -> tuple[str, ...]:
    """Return the columns that name a row in the log: its grain, and the keys to find it quickly."""
    return tuple(dict.fromkeys((*model.grain, *model.keys)))


def list_publishes(connection: duckdb.DuckDBPyConnection, which: str = "") -> list[Publish]:
    """Return publishes of the log of a warehouse file, as the clauses `which` select and order them."""
    found = connection.execute(f"select number, id, published_at from ops.publishes {which}").fetchall()
    return [Publish(*row) for row in found]


def find_publish(connection: duckdb.DuckDBPyConnection, publish_id: UUID) -> Publish | None:
    """Return a publish of the log, None if it does not know it."""
    return next(iter(list_publishes(connection, f"where id = '{publish_id}'")), None)


def newest_publish(connection: duckdb.DuckDBPyConnection) -> Publish | None:
    """Return the publish that a warehouse file is, None if it has no log."""
    return next(iter(list_publishes(connection, "order by number desc limit 1")), None)


def changed_keys(connection: duckdb.DuckDBPyConnection, model: Model, since: UUID | None) -> str | None:
    """Return a SELECT of the rows of a published table that changed since a publish, by `identity_of`.

    Returns:
        None if the log does not know them, so that the whole table may have changed.
    """
    known = find_publish(connection, since) if since else None
    try:
        types = dict(columns_of(connection, f"from {qualified(model.stored)}"))
    except duckdb.CatalogException:  # published by SQL that hid other columns than today's
        return None
    # the log holds keys as texts, from which nested ones can't be read back
    if known is None or any(_NESTED.search(types.get(name, "MAP(")) for name in identity_of(model)):
        return None
    entries = f"ops.changes where model = '{model.table}' and number > {known.number}"
    ((is_whole,),) = connection.execute(f"select count(*) > 0 from {entries} and len(key) = 0").fetchall()
    return None if is_whole else f"select distinct * from ({typed_keys(connection, model, entries)})"


def typed_keys(connection: duckdb.DuckDBPyConnection, model: Model, entries: str) -> str:
    """Return a SELECT of the keys in `entries` of the log, with their names and types in the table."""
    types = dict(columns_of(connection, f"from {qualified(model.stored)}"))
    columns = [
        f"key[{number}]::{types[key]} as {quoted(key)}" for number, key in enumerate(identity_of(model), 1)
    ]
    return f"select {', '.join(columns) or 'key'} from {entries}"
