"""Exports to PostgreSQL: a schema of our own, in one transaction for all tables, staged by ADBC.

How rows get there and what is refused belongs here. The types and names of columns do not: see
`pipelines.exports.postgresql_types`. The wide views do not either: see `pipelines.exports.postgresql_views`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pyarrow as pa

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Source, Table
from pipelines.exports.postgresql_types import identifier, literal, named, render, type_of, unstaged
from pipelines.exports.postgresql_views import is_read, make_views
from pipelines.exports.target import Difference, TargetError, Written

SCHEMA = "verbex"
STATE = "verbex_sync_state"

_MARK = "Kept by verbex-sync: the publish at which each of its tables stands."
_CONNECTION = {"connect_timeout": "10", "application_name": "verbex-sync"}
_LOOK_AGAIN_S = 0.2

_RELATIONS = """
    select relname, coalesce(obj_description(oid, 'pg_class'), '')
    from pg_catalog.pg_class
    where relnamespace = (select oid from pg_catalog.pg_namespace where nspname = {schema})
        and relkind in ('r', 'v', 'm', 'f', 'p', 'S')
"""

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


class MissingDriverError(TargetError):
    """The driver for PostgreSQL is not installed."""

    exit_code = EXIT_USAGE


@contextmanager
def open_postgresql(address: Address, *, wait_s: float) -> Iterator["PostgresqlTarget"]:
    """Open a database in one transaction, which only `finish` commits.

    Raises:
        TargetError: It can't be reached or written, or another process exports to it after `wait_s` seconds.
    """
    try:
        from adbc_driver_manager.dbapi import Error
        from adbc_driver_postgresql.dbapi import connect
    except ImportError:
        raise MissingDriverError(
            f"{address} needs a driver that is not installed: pip install 'verbex-sync[postgresql]'"
        ) from None
    options = "&".join(
        f"{name}={value}" for name, value in _CONNECTION.items() if name not in address.options
    )
    url = address.without("schema")
    try:
        with (
            connect(f"{url}{'&' if '?' in url else '?'}{options}") as connection,
            connection.cursor() as cursor,
        ):
            target = PostgresqlTarget(connection, cursor, address.options.get("schema") or SCHEMA)
            if not target.take(wait_s):
                raise TargetError(
                    f"Another process exports to {address} now. Nothing was written. Run this again later."
                )
            yield target
    except Error as error:
        reason = address.hide_in(" ".join(str(error).split()))
        raise TargetError(
            f"{address} can't be written, and is as it was. Its driver reports: {reason}"
        ) from None


class PostgresqlTarget:
    """The tables of one schema, in one transaction."""

    def __init__(self, connection: Any, cursor: Any, schema: str) -> None:  # noqa: ANN401 - untyped driver
        self._connection = connection
        self._sql = cursor
        self._schema = schema
        self._standing: dict[str, UUID] = {}
        self._done: dict[str, UUID] = {}
        self._are_views_due = False

    def take(self, wait_s: float = 0.0) -> bool:
        """Take the schema for this process until the end of the transaction, and read where its copies stand.

        Returns:
            False if another process still has it after `wait_s` seconds.
        """
        deadline_s = time.monotonic() + wait_s
        key = literal(f"verbex-sync {self._schema}")
        while not self._value(f"select pg_try_advisory_xact_lock(hashtextextended({key}, 0))"):
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_LOOK_AGAIN_S)
        for setting in ("timezone = 'UTC'", "lock_timeout = '30s'", "client_min_messages = 'warning'"):
            self._run(f"set local {setting}")
        relations = self._relations()
        if STATE not in relations:
            return True
        if relations[STATE] != _MARK:
            raise _not_ours(self._schema, STATE)
        rows = self._rows(f"select table_name, publish_id::text from {self._name(STATE)}")
        self._standing = {table: UUID(publish) for table, publish in rows if named(table) in relations}
        return True

    def standing(self) -> Mapping[str, UUID]:
        """Return the id of the publish at which the copy of each table stands."""
        return self._standing

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""
        self._done[table] = publish_id

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Bring the copy of one table to a publish."""
        table = change.table
        self._are_views_due |= is_read(table.name) and (change.is_whole or table.name != "calls_enriched")
        self._make_state()
        if table.name not in self._standing:
            self._create(table)
        elif change.is_whole:  # as it is after each change of its SQL
            self._adapt(table)
        with self._staged("staged", change, is_all=change.is_whole):
            written = self._merge(change)
        self._done[table.name] = publish_id
        return written

    def finish(self, source: Source) -> None:
        """Make the wide views, note where each copy stands, and commit."""
        relations = self._relations()
        if self._are_views_due and "calls_enriched" in relations:
            make_views(source, self._schema, relations, self._rows, self._run)
        if self._done:
            values = ", ".join(
                f"({literal(table)}, '{each}'::uuid, now())" for table, each in self._done.items()
            )
            self._run(
                f"insert into {self._name(STATE)} values {values} on conflict (table_name) do update"
                " set publish_id = excluded.publish_id, exported_at = excluded.exported_at"
            )
        self._connection.commit()

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare the copy with all rows of a table, and write nothing."""
        table = change.table
        if table.name not in self._standing:
            raise TargetError(f"There is no table {self._schema}.{table.name} yet. Export it first.")
        with self._staged("staged", change, is_all=True):
            return self._compare(table, sample)

    def _compare(self, table: Table, sample: int) -> Difference:
        target, names = self._name(table.name), _names(table)
        listed = ", ".join(names)
        values = ", ".join(unstaged(column) for column in table.columns)
        self._run(f"create temp table ours on commit drop as select {values} from staged")
        row_count = int(self._value("select count(*) from ours"))
        grain = [identifier(name) for name in table.grain]
        if not grain:
            missing = f"select {listed} from ours except all select {listed} from {target}"
            surplus = f"select {listed} from {target} except all select {listed} from ours"
            lacks, has = (int(self._value(f"select count(*) from ({sql}) x")) for sql in (missing, surplus))
            self._run("drop table ours")
            return Difference(table.name, row_count, missing=lacks, surplus=has)
        same = " and ".join(f"ours.{name} = theirs.{name}" for name in grain)
        ours, theirs = (f"({', '.join(f'{side}.{name}' for name in names)})" for side in ("ours", "theirs"))
        self._run(
            f"create temp table unlike on commit drop as"
            f" select {', '.join(f'coalesce(ours.{name}, theirs.{name})::text as {name}' for name in grain)},"
            f" theirs.{grain[0]} is null as _is_missing, ours.{grain[0]} is null as _is_surplus"
            f" from ours full join {target} theirs on {same}"
            f" where {ours} is distinct from {theirs}"
        )
        ((missing_count, surplus_count, all_count),) = self._rows(
            "select count(*) filter (where _is_missing), count(*) filter (where _is_surplus), count(*)"
            " from unlike"
        )
        keys = self._rows(f"select {', '.join(grain)} from unlike order by {', '.join(grain)} limit {sample}")
        self._run("drop table ours, unlike")
        differing = all_count - missing_count - surplus_count
        return Difference(table.name, row_count, differing, missing_count, surplus_count, tuple(keys))

    def _merge(self, change: Change) -> Written:
        table = change.table
        target = self._name(table.name)
        listed = ", ".join(_names(table))
        rows = f"select {', '.join(unstaged(column) for column in table.columns)} from staged"
        if not table.grain:
            return self._replace_all(target, listed, rows)
        deleted = self._delete(change)
        if change.is_whole and not self._rows(f"select 1 from {target} limit 1"):
            return Written(self._count(f"insert into {target} ({listed}) {rows}"), deleted)
        grain = ", ".join(identifier(name) for name in table.grain)
        values = [name for name in _names(table) if name not in grain.split(", ")]
        action = "nothing"
        if values:
            news = ", ".join(f"excluded.{name}" for name in values)
            action = (
                f"update set {', '.join(f'{name} = excluded.{name}' for name in values)}"
                f" where ({', '.join(f't.{name}' for name in values)}) is distinct from ({news})"
            )
        upsert = f"insert into {target} as t ({listed}) {rows} on conflict ({grain}) do {action}"
        return Written(self._count(upsert), deleted)

    def _delete(self, change: Change) -> int:
        table = change.table
        target = self._name(table.name)
        same = " and ".join(f"t.{name} = s.{name}" for name in map(identifier, table.grain))
        if change.is_whole:
            return self._count(f"delete from {target} t where not exists (select from staged s where {same})")
        if not change.has_gone:
            return 0
        self._ingest("gone", change.gone(render))
        try:
            return self._count(f"delete from {target} t using gone s where {same}")
        finally:
            self._run("drop table gone")

    def _replace_all(self, target: str, listed: str, rows: str) -> Written:
        """Replace a table without a grain, unless it has the same rows already."""
        self._run(f"create temp table ours on commit drop as {rows}")
        there = f"select {listed} from {target}"
        ours = f"select {listed} from ours"
        unlike = f"(({ours}) except all ({there})) union all (({there}) except all ({ours}))"
        written = Written()
        if self._rows(f"select 1 from ({unlike}) x limit 1"):
            deleted = self._count(f"delete from {target}")
            written = Written(self._count(f"insert into {target} ({listed}) {ours}"), deleted)
        self._run("drop table ours")
        return written

    def _make_state(self) -> None:
        if self._standing or self._done or STATE in self._relations():
            return
        if not self._value(f"select count(*) from pg_namespace where nspname = {literal(self._schema)}"):
            self._run(f"create schema {identifier(self._schema)}")
        self._run(
            f"create table {self._name(STATE)}"
            " (table_name text primary key, publish_id uuid not null, exported_at timestamptz not null)"
        )
        self._run(f"comment on table {self._name(STATE)} is {literal(_MARK)}")

    def _create(self, table: Table) -> None:
        if named(table.name) in self._relations():
            raise _not_ours(self._schema, table.name)
        columns = [f"{identifier(column.name)} {type_of(column)}" for column in table.columns]
        if table.grain:
            columns.append(f"primary key ({', '.join(map(identifier, table.grain))})")
        self._run(f"create table {self._name(table.name)} ({', '.join(columns)})")
        self._adapt(table)

    def _adapt(self, table: Table) -> None:
        """Add the columns that are missing, and say in comments what the table and its columns mean."""
        target = self._name(table.name)
        found = self._rows(_COLUMNS.format(table=literal(target)))
        types, comments = {name: kind for name, kind, _ in found}, {name: text for name, _, text in found}
        for column in table.columns:
            name = named(column.name)
            if name not in types:
                self._run(f"alter table {target} add column {identifier(column.name)} {type_of(column)}")
            elif types[name] != type_of(column):
                self._run(
                    f"alter table {target} alter column {identifier(column.name)}"
                    f" type {type_of(column)} using {identifier(column.name)}::text::{type_of(column)}"
                )
            if comments.get(name, "") != column.description:
                about = f"column {target}.{identifier(column.name)}"
                self._run(f"comment on {about} is {literal(column.description)}")
        if self._relations()[named(table.name)] != table.description:
            self._run(f"comment on table {target} is {literal(table.description)}")
        self._adapt_key(table, target)

    def _adapt_key(self, table: Table, target: str) -> None:
        """Give a table whose grain has changed another primary key. Its rows are all written again."""
        keys = self._rows(_KEY.format(table=literal(target)))
        wanted = ",".join(map(named, table.grain))
        if [columns for _, columns in keys] == ([wanted] if wanted else []):
            return
        for name, _ in keys:
            self._run(f"alter table {target} drop constraint {identifier(name)}")
        self._run(f"delete from {target}")
        if wanted:
            grain = ", ".join(map(identifier, table.grain))
            self._run(f"alter table {target} add primary key ({grain})")

    @contextmanager
    def _staged(self, name: str, change: Change, *, is_all: bool) -> Iterator[None]:
        self._ingest(name, change.all_rows(render) if is_all else change.rows(render))
        if is_all:
            self._run(f"analyze {name}")
        yield
        self._run(f"drop table {name}")

    def _ingest(self, name: str, rows: pa.RecordBatchReader) -> None:
        names = list(map(named, rows.schema.names))
        if names != rows.schema.names:
            schema = pa.schema(
                [field.with_name(name) for field, name in zip(rows.schema, names, strict=True)]
            )
            rows = pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(names) for batch in rows))
        self._sql.adbc_ingest(name, rows, mode="create", temporary=True)

    def _relations(self) -> dict[str, str]:
        return dict(self._rows(_RELATIONS.format(schema=literal(self._schema))))

    def _name(self, table: str) -> str:
        return f"{identifier(self._schema)}.{identifier(table)}"

    def _count(self, statement: str) -> int:
        """Run a statement that writes, and return how many rows it wrote."""
        return int(self._value(f"with written as ({statement} returning 1) select count(*) from written"))

    def _value(self, sql: str) -> Any:  # noqa: ANN401 - of any type
        ((value,),) = self._rows(sql)
        return value

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        self._sql.execute(sql)
        return list(self._sql.fetchall())

    def _run(self, statement: str) -> None:
        self._sql.execute(statement)


def _names(table: Table) -> Sequence[str]:
    return [identifier(column.name) for column in table.columns]


def _not_ours(schema: str, name: str) -> TargetError:
    return TargetError(
        f"The schema {schema} has a {name} that verbex-sync did not make. Nothing was written. Name another "
        "schema with ?schema=NAME, or rename it."
    )
