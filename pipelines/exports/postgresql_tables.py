"""The tables of a copy in PostgreSQL: made once, and from then on only given more columns.

Somebody may have built views on them, so nothing is dropped. Rows don't belong here: see
`pipelines.exports.postgresql_rows`.
"""

from collections.abc import Mapping, Sequence
from itertools import count

from pipelines.exports.change import Table
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_types import identifier, literal, named, type_of
from pipelines.models.sql_file import Column

_MARK = "\n\nKept by verbex-sync."

_COLUMNS = """
    select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')
    from pg_catalog.pg_attribute
    where attrelid = {table}::regclass and attnum > 0 and not attisdropped
    order by attnum
"""

_ALL_COLUMNS = """
    select relname, attname, format_type(atttypid, atttypmod)
    from pg_catalog.pg_attribute join pg_catalog.pg_class c on attrelid = c.oid
    where relnamespace = (select oid from pg_catalog.pg_namespace where nspname = {schema})
        and relkind in ('r', 'p') and attnum > 0 and not attisdropped
"""

_READ_BY_VIEWS = """
    select count(*) from pg_catalog.pg_depend join pg_catalog.pg_attribute
        on attrelid = refobjid and attnum = refobjsubid
    where refobjid = {table}::regclass and attname = {column} and classid = 'pg_rewrite'::regclass
"""

_KEY = """
    select conname, array_to_string(array(
        select attname from unnest(conkey) with ordinality as k(number, place)
        join pg_attribute on attrelid = conrelid and attnum = number order by place), ',')
    from pg_catalog.pg_constraint
    where conrelid = {table}::regclass and contype = 'p'
"""


def is_ours(relations: Mapping[str, str], table: str) -> bool:
    """Return whether the table of a copy is there, and is ours: it says so in its comment."""
    return relations.get(named(table), "").endswith(_MARK)


def prepare(session: Session, table: Table, *, has_key: bool) -> None:
    """Make the table of a copy, or add the columns that are missing; in comments, say what all of it means.

    All rows must be written after this: a column that became another type is emptied.

    Args:
        session: The schema.
        table: The table.
        has_key: Whether its grain can be its primary key.

    Raises:
        TargetError: There is something of that name that is not ours.
    """
    target = session.qualified(table.name)
    relations = session.relations()
    if named(table.name) not in relations:
        columns = [f"{identifier(column.name)} {type_of(column)}" for column in table.columns]
        key = [f"primary key ({_grain(table)})"] if has_key else []
        session.run(f"create table {target} ({', '.join([*columns, *key])})")
    elif not is_ours(relations, table.name):
        raise session.not_ours(table.name)
    found = session.rows(_COLUMNS.format(table=literal(target)))
    there = {name: (kind, comment) for name, kind, comment in found}
    for column in table.columns:
        _adapt_column(session, table, column, *there.get(named(column.name), ("", "")))
    comment = table.description + _MARK
    if relations.get(named(table.name)) != comment:
        session.run(f"comment on table {target} is {literal(comment)}")
    _adapt_key(session, table, has_key=has_key)


def find_fitting(session: Session, tables: Sequence[Table]) -> list[Table]:
    """Return the tables whose copies have all their columns, with their types."""
    there = set(session.rows(_ALL_COLUMNS.format(schema=literal(session.schema))))
    return [
        table
        for table in tables
        if {(named(table.name), named(each.name), type_of(each)) for each in table.columns} <= there
    ]


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
    elif kind != wanted and session.value(
        _READ_BY_VIEWS.format(table=literal(target), column=literal(named(column.name)))
    ):
        if column.name in table.grain:
            drop_primary_key(session, table)
        _set_aside(session, target, column, kind)  # with its values, for those views
        session.run(f"alter table {target} add column {name} {wanted}")
        comment = ""
    elif kind != wanted:
        if column.name in table.grain:  # which may be the key, and takes no null
            session.run(f"delete from {target}")
        session.run(f"alter table {target} alter column {name} type {wanted} using null::{wanted}")
    if comment != column.description:
        session.run(f"comment on column {target}.{name} is {literal(column.description)}")


def _set_aside(session: Session, target: str, column: Column, kind: str) -> None:
    """Give a column another name, which says its type. Views go on reading it."""
    there = {name for name, *_ in session.rows(_COLUMNS.format(table=literal(target)))}
    names = (f"{column.name} ({kind}){'' if number == 1 else f' {number}'}" for number in count(1))
    free = next(name for name in names if named(name) not in there)
    session.run(f"alter table {target} rename column {identifier(column.name)} to {identifier(free)}")


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
