"""Exports to PostgreSQL: a schema of our own, changed in one transaction for all tables.

Opening it, and keeping where each copy stands, belongs here. What a copy consists of does not: see
`pipelines.exports.postgresql_tables`, `..._rows`, `..._views` and `..._types`.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Source, Table
from pipelines.exports.postgresql_rows import can_have_key, compare, merge
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_tables import (
    drop_primary_key,
    find_fitting,
    has_primary_key,
    is_ours,
    prepare,
)
from pipelines.exports.postgresql_types import identifier, literal, named
from pipelines.exports.postgresql_views import is_read, make_views
from pipelines.exports.target import Difference, TargetError, Written

SCHEMA = "verbex"
STATE = "verbex_sync_state"

_MARK = "Kept by verbex-sync: the publish at which each of its tables stands."
_CONNECTION = {"connect_timeout": "10", "application_name": "verbex-sync"}
_SETTINGS = ("timezone = 'UTC'", "lock_timeout = '30s'", "client_min_messages = 'warning'")
_LOOK_AGAIN_S = 0.2


class MissingDriverError(TargetError):
    """The driver for PostgreSQL is not installed."""

    exit_code = EXIT_USAGE


@contextmanager
def open_postgresql(address: Address, *, wait_s: float) -> Iterator["PostgresqlTarget"]:
    """Open a database in one transaction, which is undone unless `finish` was called.

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
    try:
        with connect(_url_of(address)) as connection, connection.cursor() as cursor:
            target = PostgresqlTarget(Session(cursor, named(address.options.get("schema") or SCHEMA)))
            if not target.take(wait_s):
                raise TargetError(
                    f"Another process exports to {address} now. Nothing was written. Run this again later."
                )
            yield target
            if target.is_finished:
                connection.commit()
    except Error as error:
        raise TargetError(
            f"{address} can't be used, and is as it was. Its driver reports: {_reason(address, str(error))}"
        ) from None


class PostgresqlTarget:
    """The copies in one schema. Nothing is seen of what is written before the transaction is committed."""

    def __init__(self, session: Session) -> None:
        self.is_finished = False
        self._sql = session
        self._standing: dict[str, UUID] = {}
        self._reached: dict[str, UUID] = {}
        self._are_views_due = False

    def take(self, wait_s: float = 0.0) -> bool:
        """Take the schema for this process until the end of the transaction, and read where its copies stand.

        Returns:
            False if another process still has it after `wait_s` seconds.

        Raises:
            TargetError: The table in which that stands is not ours.
        """
        deadline_s = time.monotonic() + wait_s
        key = literal(f"verbex-sync {self._sql.schema}")
        while not self._sql.value(f"select pg_try_advisory_xact_lock(hashtextextended({key}, 0))"):
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_LOOK_AGAIN_S)
        for setting in _SETTINGS:
            self._sql.run(f"set local {setting}")
        relations = self._sql.relations()
        if STATE in relations:
            if relations[STATE] != _MARK:
                raise self._sql.not_ours(STATE)
            rows = self._sql.rows(f"select table_name, publish_id::text from {self._sql.qualified(STATE)}")
            self._standing = {table: UUID(each) for table, each in rows if is_ours(relations, table)}
        return True

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:
        """Return the id of the publish at which the copies stand that have all columns of their tables."""
        fitting = {table.name for table in find_fitting(self._sql, tables)}
        return {table: each for table, each in self._standing.items() if table in fitting}

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""
        self._reached[table] = publish_id

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Bring the copy of one table to a publish."""
        table = change.table
        if not self._standing and not self._reached:
            self._make_state()
        has_key = can_have_key(change)
        if change.is_whole:  # as it is at first, and after each change of its SQL
            prepare(self._sql, table, has_key=has_key)
        elif not has_primary_key(self._sql, table):
            has_key = False
        elif not has_key:
            drop_primary_key(self._sql, table)
        written = merge(self._sql, change, has_key=has_key)
        self._are_views_due |= is_read(table.name, is_whole=change.is_whole)
        self._reached[table.name] = publish_id
        return written

    def finish(self, source: Source) -> None:
        """Make the wide views, and note where each copy stands."""
        if self._are_views_due and named("calls_enriched") in (relations := self._sql.relations()):
            make_views(source, self._sql, relations)
        if self._reached:
            rows = (f"({literal(table)}, '{each}'::uuid, now())" for table, each in self._reached.items())
            self._sql.run(
                f"insert into {self._sql.qualified(STATE)} values {', '.join(rows)}"
                " on conflict (table_name) do update"
                " set publish_id = excluded.publish_id, exported_at = excluded.exported_at"
            )
        self.is_finished = True

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare the copy with all rows of a table, and write nothing."""
        if change.table.name not in self._standing:
            raise TargetError(f"There is no {self._sql.schema}.{change.table.name} yet. Export it first.")
        if not find_fitting(self._sql, [change.table]):
            raise TargetError(
                f"{self._sql.schema}.{change.table.name} lacks columns of the table, or has them in other "
                "types. Run `verbex-sync export`, which puts that right."
            )
        has_key = can_have_key(change) and has_primary_key(self._sql, change.table)
        return compare(self._sql, change, sample, has_key=has_key)

    def _make_state(self) -> None:
        schema, state = self._sql.schema, self._sql.qualified(STATE)
        if STATE in self._sql.relations():
            return
        if not self._sql.value(f"select count(*) from pg_namespace where nspname = {literal(schema)}"):
            self._sql.run(f"create schema {identifier(schema)}")
        columns = "table_name text primary key, publish_id uuid not null, exported_at timestamptz not null"
        self._sql.run(f"create table {state} ({columns})")
        self._sql.run(f"comment on table {state} is {literal(_MARK)}")


def _reason(address: Address, text: str) -> str:
    """Return the error of a driver without secrets, statements and quoted rows."""
    _, found, reason = text.rpartition("ERROR: ")
    reason = re.split(r"\s(?:DETAIL|CONTEXT|HINT|LINE \d+): ", reason)[0] if found else text
    return address.hide_in(" ".join(reason.split()))


def _url_of(address: Address) -> str:
    """Return the URL as the driver takes it, with what it leaves open."""
    url = address.without("schema")
    options = [f"{name}={value}" for name, value in _CONNECTION.items() if name not in address.options]
    return url + ("&" if "?" in url else "?") + "&".join(options)
