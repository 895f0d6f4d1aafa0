"""Exports to Delta Lake: one Delta table for each table, partitioned by day where it has one.

How rows become commits belongs here. What a table has does not: see `pipelines.exports.delta_rows`. How it
says where it stands does not: see `pipelines.exports.delta_marks`. The folder does not either: see
`pipelines.exports.lake_folder`.

A change is one commit, and with it the id of the publish.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pyarrow as pa

from connector.errors import EXIT_USAGE
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Source, Table
from pipelines.exports.comparison import find_unlike
from pipelines.exports.delta_marks import commit_properties, is_changed_by_others, publish_of
from pipelines.exports.delta_rows import are_new, condition_of, has_columns, keys_of, read_copy, schema_for
from pipelines.exports.lake_folder import LakeFolder, not_ours, open_lake, unusable
from pipelines.exports.lake_types import cast, render
from pipelines.exports.target import Difference, TargetError, Written
from pipelines.warehouse.changes import DAY

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

_COMMITS_BETWEEN_CLEANINGS = 100
_KEPT_H = 7 * 24


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
            if name not in folder.tables and publish_of(table):
                folder.adopt(name)

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:  # noqa: ARG002 - of all tables
        """Return the id of the publish at which the copy of each table stands."""
        standing = {}
        for name, entry in self._folder.tables.items():
            table = self._tables.get(name)
            committed = publish_of(table) if table else None
            if table is None or committed is None:
                continue
            version, _, mark = (entry.at or "").partition(" ")
            if entry.publish and mark == str(committed):  # it needed no commit since
                committed = UUID(entry.publish)
            if version == str(table.version()) or not is_changed_by_others(table):
                standing[name] = committed
        return standing

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish. It gets no commit."""
        entry, copy = self._folder.tables[table], self._tables[table]
        entry.publish, entry.at = str(publish_id), f"{copy.version()} {publish_of(copy)}"

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Commit the days or rows that changed."""
        table = change.table
        copy = self._find_copy(table.name)
        before = copy.version() if copy else 0
        written, is_committed = self._commit(change, copy, commit_properties(publish_id))
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
        return find_unlike(change, read_copy(self._tables[name], change.table), render, sample).difference

    def _commit(
        self, change: Change, copy: "DeltaTable | None", properties: "CommitProperties"
    ) -> tuple[Written, bool]:
        """Commit what differs. Return what that was, and whether there was anything."""
        table = change.table
        schema = schema_for(table, copy)
        if copy is None or not has_columns(copy, table):
            rows = cast(change.all_rows(render), schema)
            self._commit_rows(table, rows, properties, schema_mode="overwrite")
            return Written(*change.count()), True
        if change.is_whole:
            try:
                unlike = find_unlike(change, read_copy(copy, table), render)
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
        keys, gone = keys_of(change, change.rows), keys_of(change, change.gone)
        has_null = any(column.null_count for column in (*keys.columns, *gone.columns))
        if not has_null and not gone.num_rows and are_new(keys, copy):
            self._commit_rows(table, cast(change.rows(render), schema), properties, mode="append")
        elif not has_null and (condition := condition_of(keys, gone)):
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
        if table and publish_of(table) is None:
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


def _storage_options() -> dict[str, str]:
    """Return what the library has to know of a bucket beyond the environment."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return {"allow_http": "true"} if endpoint.startswith("http://") else {}
