"""The tables of a copy in PostgreSQL: made once, and from then on only given more columns.

Somebody may have built views on them, so nothing is dropped. Rows don't belong here: see
`pipelines.exports.postgresql_rows`.
"""

from pipelines.exports.change import Table
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_types import identifier, literal, named, type_of
from pipelines.models.sql_file import Column

_COLUMNS = """
    select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')
    from pg_catalog.pg_attribute
    where attrelid = {table}::regclass and attnum > 0 and not attisdropped
    order by attnum
"""

_KEY = """
    select conname, array_to_string(array(
        select attname from unnest(conkey) with ordinality as k(number, place)
        join pg_attribute on attrelid = conrelid and attnum = number order by place), ',')
    from pg_catalog.pg_constraint
    where conrelid = {table}::regclass and contype = 'p'
"""


def create(session: Session, table: Table, *, has_key: bool) -> None:
    """Make the table of a copy, with its grain as primary key if it has one.

    Raises:
        TargetError: Something of that name is there already.
    """
    if named(table.name) in session.relations():
        raise session.not_ours(table.name)
    columns = [f"{identifier(column.name)} {type_of(column)}" for column in table.columns]
    if has_key:
        columns.append(f"primary key ({_grain(table)})")
    session.run(f"create table {session.qualified(table.name)} ({', '.join(columns)})")
    adapt(session, table, has_key=has_key)


def adapt(session: Session, table: Table, *, has_key: bool) -> None:
    """Add the columns that are missing, and say in comments what the table and its columns mean.

    All rows must be written after this: a column that became another type is emptied.
    """
    target = session.qualified(table.name)
    found = session.rows(_COLUMNS.format(table=literal(target)))
    there = {name: (kind, comment) for name, kind, comment in found}
    for column in table.columns:
        _adapt_column(session, table, column, *there.get(named(column.name), ("", "")))
    if session.relations()[named(table.name)] != table.description:
        session.run(f"comment on table {target} is {literal(table.description)}")
    _adapt_key(session, table, has_key=has_key)


def has_primary_key(session: Session, table: Table) -> bool:
    """Return whether the table of a copy has a primary key."""
    return bool(session.rows(_KEY.format(table=literal(session.qualified(table.name)))))


def drop_primary_key(session: Session, table: Table) -> None:
    """Let the table of a copy hold rows that no primary key takes."""
    target = session.qualified(table.name)
    for name, _ in session.rows(_KEY.format(table=literal(target))):
        session.run(f"alter table {target} drop constraint {identifier(name)}")
    for column in table.columns:
        if column.name in table.grain:  # a key leaves this behind
            session.run(f"alter table {target} alter column {identifier(column.name)} drop not null")


def _adapt_column(session: Session, table: Table, column: Column, kind: str, comment: str) -> None:
    target, name, wanted = session.qualified(table.name), identifier(column.name), type_of(column)
    if not kind:
        session.run(f"alter table {target} add column {name} {wanted}")
    elif kind != wanted:
        value = f"{name}::text" if column.name in table.grain else "null"
        session.run(f"alter table {target} alter column {name} type {wanted} using {value}::{wanted}")
    if comment != column.description:
        session.run(f"comment on column {target}.{name} is {literal(column.description)}")


def _adapt_key(session: Session, table: Table, *, has_key: bool) -> None:
    """Give a table whose grain has changed another primary key."""
    target = session.qualified(table.name)
    found = [columns for _, columns in session.rows(_KEY.format(table=literal(target)))]
    wanted = [",".join(map(named, table.grain))] if has_key else []
    if found == wanted:
        return
    drop_primary_key(session, table)
    if has_key:
        session.run(f"delete from {target}")  # they may be alike in the new key
        session.run(f"alter table {target} add primary key ({_grain(table)})")


def _grain(table: Table) -> str:
    return ", ".join(map(identifier, table.grain))
