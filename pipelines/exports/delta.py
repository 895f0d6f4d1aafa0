"""Exports to Delta Lake: one Delta table for each table, partitioned by day where it has one.

How rows become commits belongs here. The types of columns do not: see `pipelines.exports.lake_types`. The
folder does not either: see `pipelines.exports.lake_folder`.

A change is one commit, and with it the id of the publish, as two application transactions of 64 bits each:
these survive checkpoints and cleaned logs, and of two exporters at once only one can commit.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import reduce
from itertools import chain
from operator import and_
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.change import ROWS_AT_ONCE, Change, Render, Source, Table
from pipelines.exports.comparison import find_unlike
from pipelines.exports.lake_folder import LakeFolder, not_ours, open_lake, unusable
from pipelines.exports.lake_types import cast, render, schema_of
from pipelines.exports.target import Difference, TargetError, Written
from pipelines.warehouse.catalog import quoted
from pipelines.warehouse.changes import DAY

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

HALVES = ("verbex-sync publish, first half", "verbex-sync publish, second half")
_NOTE = "verbex_sync_publish"
_KEEPING_ROWS = ("OPTIMIZE", "VACUUM")
_COMMITS_BETWEEN_CLEANINGS = 100
_KEPT_H = 7 * 24
_MOST_KEYS = 20_000  # they are named in the commit


class MissingLibraryError(TargetError):
    """The library for Delta Lake is not installed."""

    exit_code = EXIT_USAGE


@contextmanager
def open_delta(address: Address, *, wait_s: float) -> Iterator["DeltaTarget"]:
    """Open a folder or a bucket's prefix.

    Raises:
        TargetError: It can't be read or written, or another process exports to it after `wait_s` seconds.
    """
    try:
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise MissingLibraryError(
            f"{address} needs a library that is not installed: pip install 'verbex-sync[delta]'"
        ) from None
    with open_lake(address, wait_s=wait_s) as folder:
        try:
            yield DeltaTarget(folder)
        except DeltaError as error:
            raise unusable(address, error) from None
        except Exception as error:
            if type(error) is not Exception:  # as the library raises what it has no name for
                raise
            raise unusable(address, error) from None


class DeltaTarget:
    """The tables under one folder. Each of its commits is seen at once."""

    def __init__(self, folder: LakeFolder) -> None:
        self._folder = folder
        # without our state, every table that says itself that it is ours is
        found = ((name, self._open(name)) for name in folder.tables or folder.names)
        self._tables = {name: table for name, table in found if table}
        for name, table in self._tables.items():
            if name not in folder.tables and _publish_of(table):
                folder.adopt(name)

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:  # noqa: ARG002 - of all tables
        """Return the id of the publish at which the copy of each table stands."""
        standing = {}
        for name, entry in self._folder.tables.items():
            table = self._tables.get(name)
            committed = _publish_of(table) if table else None
            if table is None or committed is None:
                continue
            version, _, mark = (entry.at or "").partition(" ")
            if entry.publish and mark == str(committed):  # it needed no commit since
                committed = UUID(entry.publish)
            if version == str(table.version()) or not _is_changed_by_others(table):
                standing[name] = committed
        return standing

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish. It gets no commit."""
        entry, copy = self._folder.tables[table], self._tables[table]
        entry.publish, entry.at = str(publish_id), f"{copy.version()} {_publish_of(copy)}"

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Commit the days or rows that changed."""
        table = change.table
        copy = self._find_copy(table.name)
        before = copy.version() if copy else 0
        written, is_committed = self._commit(change, copy, _commit_properties(publish_id))
        if is_committed and (copy := self._open(table.name)):
            if copy.version() // _COMMITS_BETWEEN_CLEANINGS > before // _COMMITS_BETWEEN_CLEANINGS:
                copy.optimize.compact()
                copy.vacuum(_KEPT_H, dry_run=False, full=True)
            self._tables[table.name] = copy
        self.stay(table.name, publish_id)
        return written

    def finish(self, source: Source) -> None:  # noqa: ARG002 - as the protocol wants
        """Note where the copies stand that got no commit."""
        self._folder.save()

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare the copy with all rows of a table, and write nothing."""
        name = change.table.name
        if name not in self._tables or name not in self._folder.tables:
            raise TargetError(f"{self._folder.address} has no table {name} yet. Export it first.")
        return find_unlike(change, _read(self._tables[name], change.table), render, sample).difference

    def _commit(
        self, change: Change, copy: "DeltaTable | None", properties: "CommitProperties"
    ) -> tuple[Written, bool]:
        """Commit what differs. Return what that was, and whether there was anything."""
        table = change.table
        schema = _schema_of(table, copy)
        if copy is None or not _has_columns(copy, table):
            rows = cast(change.all_rows(render), schema)
            self._commit_rows(table, rows, properties, schema_mode="overwrite")
            return Written(*change.count()), True
        if change.is_whole:
            try:
                unlike = find_unlike(change, _read(copy, table), render)
            except FileNotFoundError:  # somebody deleted it
                self._commit_rows(table, cast(change.all_rows(render), schema), properties)
                return Written(*change.count()), True
            found = unlike.difference
            if found.is_equal:
                return Written(), False
            self._replace_days(change, schema, unlike.days, properties)
            return Written(found.differing + found.missing, found.surplus), True
        if table.has_day:
            # the log names no row that has no day
            self._replace_days(change, schema, {*(change.days() or ()), None}, properties)
        else:
            self._replace_rows(change, schema, copy, properties)
        return Written(*change.count()), True

    def _replace_days(
        self,
        change: Change,
        schema: pa.Schema,
        days: Iterable[date | None],
        properties: "CommitProperties",
    ) -> None:
        """Replace days as a whole, or everything if the table has no days."""
        if not change.table.has_day:
            self._commit_rows(change.table, cast(change.all_rows(render), schema), properties)
            return
        parts = (cast(change.rows_of(render, day), schema) for day in days)
        rows = pa.RecordBatchReader.from_batches(schema, chain.from_iterable(parts))
        conditions = [f"{DAY} is null"] if None in days else []
        if named := ", ".join(f"'{day}'" for day in days if day):
            conditions.append(f"{DAY} in ({named})")
        self._commit_rows(change.table, rows, properties, predicate=" or ".join(conditions))

    def _replace_rows(
        self, change: Change, schema: pa.Schema, copy: "DeltaTable", properties: "CommitProperties"
    ) -> None:
        """Replace rows of a table without days: only files that hold some of them are written again.

        A merge would do the same, but holds the copy in memory.
        """
        table = change.table
        keys, gone = _keys_of(change, change.rows), _keys_of(change, change.gone)
        has_null = any(column.null_count for column in (*keys.columns, *gone.columns))
        if not has_null and not gone.num_rows and _are_new(keys, copy):
            self._commit_rows(table, cast(change.rows(render), schema), properties, mode="append")
        elif not has_null and (condition := _condition_of(keys, gone)):
            self._commit_rows(table, cast(change.rows(render), schema), properties, predicate=condition)
        else:
            self._commit_rows(table, cast(change.all_rows(render), schema), properties)

    def _commit_rows(
        self,
        table: Table,
        rows: pa.RecordBatchReader,
        properties: "CommitProperties",
        *,
        mode: Literal["append", "overwrite"] = "overwrite",
        **options: Any,  # noqa: ANN401 - as the library takes them
    ) -> None:
        from deltalake import write_deltalake

        # the table as it was opened, so that a commit of another exporter in between is a conflict
        write_deltalake(
            self._tables.get(table.name) or self._uri(table.name),
            rows,
            partition_by=[DAY] if table.has_day else None,
            mode=mode,
            description=table.description,
            storage_options=_storage_options(),
            commit_properties=properties,
            **options,
        )

    def _find_copy(self, name: str) -> "DeltaTable | None":
        """Return our copy of a table, or None if there is none and the place is free.

        Raises:
            TargetError: There is something of that name that we did not make.
        """
        if name not in self._folder.tables and (table := self._open(name)):
            self._tables[name] = table  # our state is lost, or somebody's table
        table = self._tables.get(name)
        if table and _publish_of(table) is None:
            raise not_ours(self._folder.address, name)
        if not table:
            self._folder.entry(name)
            self._folder.save()  # files of a first commit that never happens are ours too
        elif name not in self._folder.tables:
            self._folder.adopt(name)
        return table

    def _open(self, name: str) -> "DeltaTable | None":
        from deltalake import DeltaTable

        uri, options = self._uri(name), _storage_options()
        if not self._folder.list(f"{name}/_delta_log"):
            return None
        return DeltaTable(uri, storage_options=options)

    def _uri(self, name: str) -> str:
        return f"{'' if self._folder.is_local else 's3://'}{self._folder.root}/{name}"


def _keys_of(change: Change, rows: Callable[[Render], pa.RecordBatchReader]) -> pa.Table:
    """Return the grain of rows of a change."""
    grain = change.table.grain
    schema = schema_of(column for column in change.table.columns if column.name in grain)
    reader = rows(lambda column: render(column) if column.name in grain else "null")
    return pa.Table.from_batches(cast(reader, schema), schema)


def _are_new(keys: pa.Table, copy: "DeltaTable") -> bool:
    """Return whether a copy has no row of these keys, so that theirs can be appended."""
    alike = reduce(and_, (pc.field(name).isin(pc.unique(keys[name])) for name in keys.column_names))
    scanner = copy.to_pyarrow_dataset().scanner(
        columns=keys.column_names, filter=alike, batch_size=ROWS_AT_ONCE
    )
    return bool(scanner.head(1).num_rows == 0)


def _condition_of(keys: pa.Table, gone: pa.Table) -> str | None:
    """Return the SQL, of the library, that is true for rows of these keys. None if there is no short one."""
    both = pa.concat_tables([keys, gone])
    if both.num_columns != 1 or both.num_rows > _MOST_KEYS or both.schema.types != [pa.string()]:
        return None
    listed = ", ".join("'" + key.replace("'", "''") + "'" for key in both[0].to_pylist())
    return f"{quoted(both.column_names[0])} in ({listed})"


def _read(copy: "DeltaTable", table: Table) -> pa.RecordBatchReader:
    rows = copy.to_pyarrow_dataset().scanner(batch_size=ROWS_AT_ONCE).to_reader()
    return cast(rows, schema_of(table.columns))


def _has_columns(copy: "DeltaTable", table: Table) -> bool:
    """Return whether a copy has the columns of a table, with their types, in partitions as we make them."""
    there = copy.to_pyarrow_dataset().schema
    is_alike = all(
        field.name in there.names and there.field(field.name).type == field.type
        for field in schema_of(table.columns)
    )
    return is_alike and copy.metadata().partition_columns == ([DAY] if table.has_day else [])


def _schema_of(table: Table, copy: "DeltaTable | None") -> pa.Schema:
    """Return the columns of a table, and those that its copy had once, which are null from now on."""
    schema = schema_of(table.columns)
    names = {name.lower() for name in schema.names}  # readers don't tell large letters from small ones
    for field in copy.to_pyarrow_dataset().schema if copy else ():
        if field.name.lower() not in names:
            schema = schema.append(field)
    return schema


def _publish_of(copy: "DeltaTable") -> UUID | None:
    """Return the id of the publish of our last commit, None if we made none."""
    halves = [copy.transaction_version(name) for name in HALVES]
    found = [half.to_bytes(8, "big", signed=True) for half in halves if half is not None]
    return UUID(bytes=b"".join(found)) if len(found) == len(halves) else None


def _is_changed_by_others(copy: "DeltaTable") -> bool:
    """Return whether somebody changed rows after our last commit, so that they are to be compared."""
    for count in (1, _COMMITS_BETWEEN_CLEANINGS):  # mostly the newest commit is ours
        for commit in copy.history(count):
            if _NOTE in commit:
                return False
            if not commit.get("operation", "").startswith(_KEEPING_ROWS):
                return True
    return False


def _commit_properties(publish_id: UUID) -> "CommitProperties":
    from deltalake import CommitProperties, Transaction

    halves = (publish_id.bytes[:8], publish_id.bytes[8:])
    return CommitProperties(
        custom_metadata={_NOTE: str(publish_id)},
        app_transactions=[
            Transaction(name, int.from_bytes(half, "big", signed=True))
            for name, half in zip(HALVES, halves, strict=True)
        ],
    )


def _storage_options() -> dict[str, str]:
    """Return what the library has to know of a bucket beyond the environment."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return {"allow_http": "true"} if endpoint.startswith("http://") else {}
