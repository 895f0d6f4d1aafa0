"""The published tables as exports read them: one publish, and what changed up to it since another one.

Reading belongs here, always a few rows at a time. Writing does not: see `pipelines.exports.target`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa

from connector.errors import EXIT_USAGE, OperatorError
from pipelines.models.load import read_query_file
from pipelines.models.model import Model
from pipelines.models.sql_file import Column, SqlFile
from pipelines.warehouse.catalog import alike, columns_of, qualified, quoted
from pipelines.warehouse.changes import (
    DAY,
    Publish,
    changed_keys,
    find_publish,
    identity_of,
    is_public,
    newest_publish,
)
from pipelines.warehouse.data_folder import DataFolder, OutdatedTablesError
from pipelines.warehouse.memory import limit_memory

ROWS_AT_ONCE = 10_000
"""Rows in a batch. What a target holds at once is a few of these."""

MEMORY_BYTES = 500_000_000
"""What DuckDB may hold for an export, at most."""

STATUS = "pipeline_status"

# A temporary table is found before a table of its name, also as `main.name`. No table can have these names.
_CHANGED, _FOUND, _GONE, _BATCH = '"export: changed"', '"export: found"', '"export: gone"', '"export: batch"'
OURS, THEIRS, UNLIKE = '"export: ours"', '"export: theirs"', '"export: unlike"'

# Days that every reader knows. Others count as none.
_DAY = f"case when year({DAY}) between 1 and 9999 then {DAY} end"

Render = Callable[[Column], str]
"""Turns a column into the SQL, of DuckDB, of the value that a target takes for it."""


Query = Callable[[str], list[tuple[Any, ...]]]
"""Runs a SELECT and returns its rows, of which there are few."""


class UnknownTablesError(OperatorError):
    """Names of tables that are not published, or not public."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Table:
    """A public table as targets get it.

    Attributes:
        name: Its name.
        description: What its SQL file says of it; the first line says what a row is.
        columns: Its columns with DuckDB's types in capitals, without those that are hidden.
        grain: The columns that are unique together; empty if its header names none.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    grain: tuple[str, ...]

    @property
    def has_day(self) -> bool:
        """Whether its rows are of days, in a column `day` beside others."""
        is_there = any(column.name == DAY and column.type == "DATE" for column in self.columns)
        return is_there and len(self.columns) > 1  # files have the other columns


@dataclass(frozen=True)
class Change:
    """The rows of one table that a target lacks or has beyond.

    Attributes:
        table: The table.
        is_whole: Whether these are all rows, because it is not known which changed. What the target has
            beyond them is to be deleted.
        has_gone: Whether it is known of rows that they are gone.
    """

    table: Table
    is_whole: bool
    _sql: duckdb.DuckDBPyConnection = field(repr=False)
    _rows: str = field(repr=False)
    _condition: str = field(repr=False)
    _days: tuple[date, ...] = field(repr=False, default=())
    has_gone: bool = False

    def rows(self, render: Render) -> pa.RecordBatchReader:
        """Return the rows as they are now that are new or changed, or all rows if the change is whole."""
        return self._read(render, self._condition)

    def gone(self, render: Render) -> pa.RecordBatchReader:
        """Return the grain of rows that are not there any more. Empty if the change is whole."""
        columns = (column for column in self.table.columns if column.name in self.table.grain)
        listed = ", ".join(f"{render(column)} as {quoted(column.name)}" for column in columns)
        rows = f"{self._rows} where false" if self.is_whole else _gone(self.table.name)
        return self._sql.sql(f"select {listed} from {rows}").to_arrow_reader(ROWS_AT_ONCE)

    def days(self) -> tuple[date, ...] | None:
        """Return the days of old and new rows, for targets that write whole days again.

        None if all days may have changed, or if the table's rows are not of days.
        """
        return None if self.is_whole or not self.table.has_day else self._days

    def all_rows(self, render: Render) -> pa.RecordBatchReader:
        """Return all rows of the table, whether they changed or not."""
        return self._read(render, "true")

    def rows_of(self, render: Render, day: date | None) -> pa.RecordBatchReader:
        """Return all rows of one day, or those that have no day, whether they changed or not."""
        return self._read(render, f"({_DAY}) is null" if day is None else f"{DAY} = date '{day}'")

    def all_days(self) -> frozenset[date | None]:
        """Return the days of all rows. None stands for those that have no day."""
        days = self._sql.execute(f"select distinct {_DAY} from {self._rows}").fetchall()
        return frozenset(day for (day,) in days)

    def has_any(self, condition: str) -> bool:
        """Return whether one of the rows that are new or changed (or of all) fulfils a condition in SQL."""
        found = f"select 1 from {self._rows} where {self._condition} and ({condition}) limit 1"
        return bool(self._sql.execute(found).fetchall())

    def count(self) -> tuple[int, int]:
        """Return how many rows are new or changed (or all, if the change is whole), and how many are gone."""
        rows = f"select count(*) from {self._rows} where {self._condition}"
        gone = f"select count(*) from {_gone(self.table.name)}" if self.has_gone else "select 0"
        ((counted, vanished),) = self._sql.execute(f"select ({rows}), ({gone})").fetchall()
        return counted, vanished

    @contextmanager
    def beside(self, copy: pa.RecordBatchReader, render: Render) -> Iterator[Query]:
        """Put the rows of a copy into a temporary table, for SELECTs on `THEIRS` and on `OURS`, all rows.

        What the copy raises while it is read is raised here as it is.
        """
        registered = _BATCH.strip('"')
        self._sql.register(registered, copy.schema.empty_table())
        self._sql.execute(f"create or replace temp table {THEIRS} as from {_BATCH}")
        try:
            for batch in copy:
                self._sql.register(registered, batch)
                self._sql.execute(f"insert into {THEIRS} from {_BATCH}")
            listed = ", ".join(f"{render(column)} as {quoted(column.name)}" for column in self.table.columns)
            self._sql.execute(f"create or replace temp view {OURS} as select {listed} from {self._rows}")
            yield lambda sql: self._sql.execute(sql).fetchall()
        finally:
            self._sql.unregister(registered)
            self._sql.execute(f"drop view if exists {OURS}")
            self._sql.execute(f"drop table if exists {THEIRS}")

    def _read(self, render: Render, condition: str) -> pa.RecordBatchReader:
        listed = ", ".join(f"{render(column)} as {quoted(column.name)}" for column in self.table.columns)
        select = f"select {listed} from {self._rows} where {condition}"
        return self._sql.sql(select).to_arrow_reader(ROWS_AT_ONCE)


class Source:
    """The published tables of one publish. Later publishes don't touch them while they are read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: DataFolder, publish: Publish) -> None:
        self._sql = connection
        self._status = read_query_file(folder.sql_dir, STATUS)
        self._models = {model.table: model for model in folder.models if is_public(model)}
        self.publish = publish

    def list_tables(self, names: Sequence[str] = ()) -> list[Table]:
        """List the public tables, or those of `names`.

        Raises:
            UnknownTablesError: There is no public table of a name.
        """
        there = {name for (name,) in self._sql.execute("select table_name from duckdb_tables()").fetchall()}
        found = [name for name in (*self._models, STATUS) if name in there]
        if unknown := sorted(set(names) - set(found)):
            raise UnknownTablesError(
                f"There is no table {', '.join(unknown)} to export. There are: {', '.join(sorted(found))}."
            )
        return [self._describe(self._file(name)) for name in found if name in names or not names]

    def find_change(self, table: Table, since: UUID | None) -> Change | None:
        """Return what changed in a table since a publish, None if nothing did.

        Everything counts as changed if `since` is None, or a publish that the log does not know.
        """
        whole = Change(table, True, self._sql, f"main.{table.name}", "true")
        if table.name == STATUS:
            return None if since == self.publish.id else whole
        model = self._models[table.name]
        keys = changed_keys(self._sql, model, since)
        if keys is None or since is None:
            return whole
        return self._find_rows(table, model, keys, since)

    def find_publish(self, publish_id: UUID) -> Publish | None:
        """Return an earlier publish, None if the log does not know it: too old, or of another warehouse."""
        return find_publish(self._sql, publish_id)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a SELECT, of which there are few."""
        return self._sql.execute(sql).fetchall()

    def _find_rows(self, table: Table, model: Model, keys: str, since: UUID) -> Change | None:
        changed, found, gone = (_of_table(name, table.name) for name in (_CHANGED, _FOUND, _GONE))
        self._sql.execute(f"create or replace temp table {changed} as {keys}")
        if not self._sql.execute(f"select 1 from {changed} limit 1").fetchall():
            return None
        identity = ", ".join(map(quoted, identity_of(model)))
        # first by the keys, which are quick to look for; then by the whole grain
        by_key = alike("t", "c", model.keys)
        rows = qualified(model.stored)
        near = f"select t.rowid from {rows} as t semi join {changed} as c on {by_key}"
        self._sql.execute(
            f"create or replace temp table {found} as select rowid as _id, {identity}"
            f" from {rows} where rowid in ({near})"
        )
        same = alike("f", "c", identity_of(model))
        self._sql.execute(
            f"delete from {found} where _id not in"
            f" (select _id from {found} as f semi join {changed} as c on {same})"
        )
        grain = ", ".join(map(quoted, model.grain))
        self._sql.execute(
            f"create or replace temp table {gone} as select distinct {grain}"
            f" from {changed} as c anti join {found} as f on {alike('c', 'f', model.grain)}"
        )
        has_gone = bool(self._sql.execute(f"select 1 from {gone} limit 1").fetchall())
        condition = f"rowid in (select _id from {found})"
        return Change(table, False, self._sql, rows, condition, self._days(table, since), has_gone)

    def _days(self, table: Table, since: UUID) -> tuple[date, ...]:
        days = self._sql.execute(
            f"select distinct {_DAY} from (select unnest(days) as {DAY} from ops.changes where model = $table"
            " and number > (select number from ops.publishes where id = $since)) order by 1",
            {"table": table.name, "since": since},
        ).fetchall()
        return tuple(day for (day,) in days if day)

    def _file(self, name: str) -> SqlFile:
        return self._status if name == STATUS else self._models[name]

    def _describe(self, file: SqlFile) -> Table:
        described = {column.name: column for column in file.columns}
        columns = tuple(
            replace(described.get(name, Column(name, kind, "")), type=kind)
            for name, kind in columns_of(self._sql, f"from main.{file.name}")
            if not (name in described and described[name].is_hidden)
        )
        grain = file.listed("grain")
        has_grain = set(grain) <= {
            column.name for column in columns
        }  # else it is held back, and its SQL newer
        return Table(file.name, file.description, columns, grain if has_grain else ())


def _of_table(name: str, table: str) -> str:
    return f'{name[:-1]} in {table}"'


def _gone(table: str) -> str:
    return _of_table(_GONE, table)


@contextmanager
def open_source(folder: DataFolder) -> Iterator[Source]:
    """Open what is published now.

    Raises:
        NothingPublishedError: Nothing is.
        OutdatedTablesError: It was published by a version that kept no log.
    """
    with folder.read() as connection:
        # enough to look up keys and to read on; it may run beside a load, which holds more
        limit_memory(connection, min(folder.memory_bytes or MEMORY_BYTES, MEMORY_BYTES))
        try:
            publish = newest_publish(connection)
        except duckdb.CatalogException:
            publish = None
        if publish is None:
            raise OutdatedTablesError(
                "The tables were published by a version of verbex-sync that exported none. Run "
                "`verbex-sync sync` first."
            )
        yield Source(connection, folder, publish)
