"""The wide views in PostgreSQL: one row per call of an agent, one column per item of its analyses (PCA).

Their definitions belong here. Which agents and items there are does not: see `sql/core/pca_columns.sql`.

A view may be what somebody else's view or dashboard reads. So it only ever gets more columns, at its end: one
whose item is gone or has become another type keeps its name and its place, and is null.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256

from pipelines.exports.change import Source
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_types import identifier, literal, named

PREFIX = "pca_wide_"

_READ = ("calls_enriched", "pca_columns", "pca_views")
_BEFORE_ITEMS = {
    "call_id": "text",
    "agent_name": "text",
    "started_at": "timestamp with time zone",
    "ended_at": "timestamp with time zone",
    "duration_s": "double precision",
    "pca_status": "text",
    "pca_fetched_at": "timestamp with time zone",
}
_MARK = (
    "One row per call of the agent {agent}, one column per item of its analyses (PCA). verbex-sync {digest}"
)

_COLUMNS = """
    select attname, format_type(atttypid, atttypmod)
    from pg_catalog.pg_attribute
    where attrelid = {view}::regclass and attnum > 0 and not attisdropped
    order by attnum
"""

Columns = dict[str, tuple[str, str]]
"""By name, the type and the expression of a view's columns."""


def make_views(source: Source, session: Session, relations: Mapping[str, str]) -> None:
    """Make the views that are missing or have changed. None is ever dropped.

    Args:
        source: The published tables.
        session: The schema that holds the copy of `calls_enriched`, and gets the views.
        relations: What the schema has, with its comments.

    Raises:
        TargetError: The schema has something else of that name.
    """
    read = session.rows(_COLUMNS.format(view=literal(session.qualified("calls_enriched"))))
    for view_name, agent, items in _wanted(source):
        view = named(PREFIX + view_name)
        columns = _columns(items)
        condition = f"coalesce(pca_agent_id, agent_id) = {literal(agent)}"
        digest = sha256(repr((columns, condition, sorted(read))).encode()).hexdigest()[:16]
        mark = _MARK.format(agent=agent, digest=digest)
        comment = relations.get(view)
        if comment == mark:
            continue
        qualified = session.qualified(view)
        if comment is not None:
            if " verbex-sync " not in comment:
                raise session.not_ours(view)
            columns = _extended(session.rows(_COLUMNS.format(view=literal(qualified))), columns)
        listed = ", ".join(f"{value} as {identifier(name)}" for name, (_, value) in columns.items())
        enriched = session.qualified("calls_enriched")
        session.run(
            f"create or replace view {qualified} as select {listed} from {enriched} where {condition}"
        )
        session.run(f"comment on view {qualified} is {literal(mark)}")


def is_read(table: str, *, is_whole: bool) -> bool:
    """Return whether the views may have to be made again after a change of a table."""
    return table in ("pca_columns", "pca_views") or (table == "calls_enriched" and is_whole)


def _wanted(source: Source) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    there = {table.name: {column.name for column in table.columns} for table in source.list_tables()}
    if not (there.keys() >= set(_READ) and _BEFORE_ITEMS.keys() <= there["calls_enriched"]):
        return
    items: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for agent, *item in source.query(
        "select agent_id, column_name, type, key from pca_columns order by agent_id, position"
    ):
        items[str(agent)].append((str(item[0]), str(item[1]), str(item[2])))
    for view_name, agent in source.query("select view_name, agent_id from pca_views order by view_name"):
        yield str(view_name), str(agent), items[str(agent)]


def _columns(items: list[tuple[str, str, str]]) -> Columns:
    columns: Columns = {name: (kind, name) for name, kind in _BEFORE_ITEMS.items()}
    for name, kind, key in items:
        text = f"(pca ->> {literal(key)})"
        match kind:
            case "number":
                value = ("double precision", f"(pca_numbers ->> {literal(key)})::double precision")
            case "boolean":
                answer = f"case lower(trim({text})) when 'true' then true when 'false' then false end"
                value = ("boolean", answer)
            case _:
                value = ("text", text)
        columns[named(name)] = value
    return columns


def _extended(there: list[tuple[str, str]], wanted: Columns) -> Columns:
    """Return the columns that are there in their order, and behind them those that are new."""
    columns: Columns = {}
    rest = dict(wanted)
    for name, kind in there:
        if name in wanted and wanted[name][0] == kind:
            columns[name] = rest.pop(name)
        else:
            columns[name] = (kind, f"null::{kind}")
    for name, (kind, value) in rest.items():
        free = name if name not in columns else named(f"{name} ({kind})")
        columns.setdefault(free, (kind, value))
    return columns
