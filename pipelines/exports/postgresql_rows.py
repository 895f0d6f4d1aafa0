"""The rows of a copy in PostgreSQL: merged from what is staged, or compared with it.

Statements on rows belong here. The tables themselves do not: see `pipelines.exports.postgresql_tables`.
"""

from collections.abc import Sequence

from pipelines.exports.change import Change, Table
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_types import (
    DOUBTFUL,
    READ_DOUBTFUL,
    identifier,
    is_no_key,
    render_for,
    type_of,
    unstaged,
)
from pipelines.exports.target import Difference, Written
from pipelines.models.sql_file import Column


def can_have_key(change: Change) -> bool:
    """Return whether the grain of the rows of a change can be a primary key: one takes no null."""
    conditions = [is_no_key(column) for column in change.table.columns if column.name in change.table.grain]
    return bool(conditions) and not change.has_any(" or ".join(conditions))


def merge(session: Session, change: Change, *, has_key: bool) -> Written:
    """Insert and update the rows of a change, and delete those that are gone. Equal rows are not written.

    Args:
        session: The schema with the copy.
        change: What changed.
        has_key: Whether the copy has the grain as its primary key.
    """
    with session.staged("staged", change.rows(render_for(change.table.grain))):
        if change.is_whole:
            session.run("analyze staged")
        rows = _staged(session, change.table)
        return _merge(session, change, rows) if has_key else _merge_without_key(session, change, rows)


def compare(session: Session, change: Change, sample: int, *, has_key: bool) -> Difference:
    """Compare the copy with all rows of a table."""
    table = change.table
    with session.staged("staged", change.all_rows(render_for(table.grain))):
        session.run(f"create temp table ours on commit drop as {_staged(session, table)}")
    session.run("analyze ours")
    row_count = int(session.value("select count(*) from ours"))
    find = _find_unlike_by_key if has_key else _find_unlike
    found = find(session, table, row_count, sample)
    session.run("drop table ours")
    return found


def _merge(session: Session, change: Change, rows: str) -> Written:
    table = change.table
    target, listed = session.qualified(table.name), ", ".join(_names(table))
    deleted = _delete(session, change)
    insert = f"insert into {target} as t ({listed}) {rows}"
    if not (change.is_whole and _is_empty(session, target)):
        insert += _or_update(table)
    return Written(session.count(insert), deleted)


def _merge_without_key(session: Session, change: Change, rows: str) -> Written:
    table = change.table
    target, listed = session.qualified(table.name), ", ".join(_names(table))
    if change.is_whole:
        return _replace_all(session, target, listed, rows)
    deleted = _delete_gone(session, change, _alike("t", "s", table))
    session.run(f"create temp table ours on commit drop as {rows}")
    session.run(f"delete from {target} t using ours s where {_alike('t', 's', table)}")
    written = session.count(f"insert into {target} ({listed}) select {listed} from ours")
    session.run("drop table ours")
    return Written(written, deleted)


def _or_update(table: Table) -> str:
    grain = [identifier(name) for name in table.grain]
    values = [name for name in _names(table) if name not in grain]
    if not values:
        return f" on conflict ({', '.join(grain)}) do nothing"
    ours, news = (", ".join(f"{side}.{name}" for name in values) for side in ("t", "excluded"))
    updates = ", ".join(f"{name} = excluded.{name}" for name in values)
    return (
        f" on conflict ({', '.join(grain)}) do update set {updates} where ({ours}) is distinct from ({news})"
    )


def _delete(session: Session, change: Change) -> int:
    table = change.table
    target, grain = session.qualified(table.name), ", ".join(map(unstaged, _grain(table)))
    same = " and ".join(f"t.{name} = s.{name}" for name in map(identifier, table.grain))
    if change.is_whole:
        staged = f"(select {grain} from staged)"
        return session.count(f"delete from {target} t where not exists (select from {staged} s where {same})")
    return _delete_gone(session, change, same)


def _delete_gone(session: Session, change: Change, same: str) -> int:
    if not change.has_gone:
        return 0
    target, grain = session.qualified(change.table.name), ", ".join(map(unstaged, _grain(change.table)))
    with session.staged("gone", change.gone(render_for(change.table.grain))):
        return session.count(f"delete from {target} t using (select {grain} from gone) s where {same}")


def _replace_all(session: Session, target: str, listed: str, rows: str) -> Written:
    """Replace a table without a grain, unless it has the same rows already."""
    session.run(f"create temp table ours on commit drop as {rows}")
    there, ours = f"select {listed} from {target}", f"select {listed} from ours"
    unlike = f"(({ours}) except all ({there})) union all (({there}) except all ({ours}))"
    written = Written()
    if session.rows(f"select 1 from ({unlike}) x limit 1"):
        deleted = session.count(f"delete from {target}")
        written = Written(session.count(f"insert into {target} ({listed}) {ours}"), deleted)
    session.run("drop table ours")
    return written


def _find_unlike(session: Session, table: Table, row_count: int, sample: int) -> Difference:
    """Compare rows of which several may be alike."""
    listed = ", ".join(_names(table))
    there, ours = f"select {listed} from {session.qualified(table.name)}", f"select {listed} from ours"
    session.run(
        "create temp table unlike on commit drop as"
        f" select true as _is_ours, * from ({ours} except all {there}) x"
        f" union all select false, * from ({there} except all {ours}) x"
    )
    ((missing, surplus),) = session.rows(
        "select count(*) filter (where _is_ours), count(*) filter (where not _is_ours) from unlike"
    )
    differing, some = 0, []
    if table.grain:
        theirs = f"select from unlike theirs where not _is_ours and {_alike('ours', 'theirs', table)}"
        differing = session.value(f"select count(*) from unlike ours where _is_ours and exists ({theirs})")
        grain = ", ".join(f"{identifier(name)}::text" for name in table.grain)
        some = session.rows(f"select distinct {grain} from unlike order by {grain} limit {sample}")
    session.run("drop table unlike")
    return Difference(table.name, row_count, differing, missing - differing, surplus - differing, tuple(some))


def _find_unlike_by_key(session: Session, table: Table, row_count: int, sample: int) -> Difference:
    grain = [identifier(name) for name in table.grain]
    same = " and ".join(f"ours.{name} = theirs.{name}" for name in grain)
    ours, theirs = (
        f"({', '.join(f'{side}.{name}' for name in _names(table))})" for side in ("ours", "theirs")
    )
    keys = ", ".join(f"coalesce(ours.{name}, theirs.{name})::text as {name}" for name in grain)
    session.run(
        f"create temp table unlike on commit drop as select {keys},"
        f" theirs.{grain[0]} is null as _is_missing, ours.{grain[0]} is null as _is_surplus"
        f" from ours full join {session.qualified(table.name)} theirs on {same}"
        f" where {ours} is distinct from {theirs}"
    )
    ((missing, surplus, all_unlike),) = session.rows(
        "select count(*) filter (where _is_missing), count(*) filter (where _is_surplus), count(*)"
        " from unlike"
    )
    listed = ", ".join(grain)
    some = session.rows(f"select {listed} from unlike order by {listed} limit {sample}")
    session.run("drop table unlike")
    return Difference(table.name, row_count, all_unlike - missing - surplus, missing, surplus, tuple(some))


def _is_empty(session: Session, target: str) -> bool:
    return not session.rows(f"select 1 from {target} limit 1")


def _staged(session: Session, table: Table) -> str:
    """Return a SELECT of what is staged, with the types of the table."""
    doubtful = " or ".join(f"starts_with({identifier(column.name)}, '{DOUBTFUL}')" for column in _json(table))
    has_doubtful = bool(doubtful) and bool(session.rows(f"select 1 from staged where {doubtful} limit 1"))
    if has_doubtful:
        session.run(READ_DOUBTFUL)
    values = (unstaged(column, has_doubtful=has_doubtful) for column in table.columns)
    return f"select {', '.join(values)} from staged"


def _alike(one: str, other: str, table: Table) -> str:
    """Return the condition by which rows are alike in the grain, null like null, in a form that is hashed."""
    return " and ".join(
        f"coalesce({one}.{name}::text, '') = coalesce({other}.{name}::text, '')"
        f" and ({one}.{name} is null) = ({other}.{name} is null)"
        for name in map(identifier, table.grain)
    )


def _grain(table: Table) -> list[Column]:
    return [column for column in table.columns if column.name in table.grain]


def _json(table: Table) -> list[Column]:
    return [column for column in table.columns if type_of(column) == "jsonb"]


def _names(table: Table) -> Sequence[str]:
    return [identifier(column.name) for column in table.columns]
