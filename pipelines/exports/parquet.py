"""Exports to Parquet: one folder for each table, in it one folder for each day, in it one file.

How rows become files, and in which order files and state are written, belongs here. The types of columns do
not: see `pipelines.exports.lake_types`. The state does not either: see `pipelines.exports.lake_folder`.

A part, which is a day or a table without days, is one file of a fixed name that is replaced whole. Before the
first is touched, the state names those that will be. So after a kill at any moment the next export knows
which may be newer than the rest, and writes them again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipelines.exports.address import Address
from pipelines.exports.change import ROWS_AT_ONCE, Change, Source, Table
from pipelines.exports.comparison import find_unlike
from pipelines.exports.lake_folder import Entry, LakeFolder, open_lake
from pipelines.exports.lake_types import cast, fit, render, schema_of
from pipelines.exports.target import Difference, TargetError, Written
from pipelines.models.sql_file import Column
from pipelines.warehouse.changes import DAY

_ALL = ""
_WITHOUT_DAY = f"{DAY}=__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark and DuckDB read as null

_ROW_GROUP_ROWS = 100_000


@contextmanager
def open_parquet(address: Address, *, wait_s: float) -> Iterator["ParquetTarget"]:
    """Open a folder or a bucket's prefix.

    Raises:
        TargetError: It can't be read or written, or another process exports to it after `wait_s` seconds.
    """
    with open_lake(address, wait_s=wait_s) as folder:
        yield ParquetTarget(folder)


class ParquetTarget:
    """The tables as files under one folder."""

    def __init__(self, folder: LakeFolder) -> None:
        self._folder = folder

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:  # noqa: ARG002 - of all tables
        """Return the id of the publish at which the copy of each table stands."""
        return self._folder.standing()

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""
        entry = self._folder.entry(table)
        # Parts of a publish that this warehouse does not know: the next export compares all rows.
        entry.publish = None if entry.unsettled else str(publish_id)

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Write the parts again in which something changed."""
        entry = self._folder.entry(change.table.name)
        columns = {column.name: column.type for column in change.table.columns}
        names = {name.lower() for name in columns}  # readers don't tell large letters from small ones
        kept = {name: kind for name, kind in entry.columns.items() if name.lower() not in names}
        all_columns = columns | kept  # a column whose SQL is gone stays, and is null
        parts, written = self._find_parts(change, entry, are_columns_new=entry.columns != all_columns)
        entry.columns = all_columns
        entry.unsettled = sorted(parts)
        self._folder.save()
        for part in sorted(parts):
            self._write_part(change, part, entry)
        entry.publish, entry.unsettled = str(publish_id), []
        return written

    def finish(self, source: Source) -> None:  # noqa: ARG002 - as the protocol wants
        """Note where each copy stands."""
        self._folder.save()

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare the copy with all rows of a table, and write nothing."""
        name = change.table.name
        if name not in self._folder.tables:
            raise TargetError(f"{self._folder.address} has no table {name} yet. Export it first.")
        return find_unlike(change, self._read(change.table), render, sample).difference

    def _find_parts(self, change: Change, entry: Entry, *, are_columns_new: bool) -> tuple[set[str], Written]:
        """Return the parts to write again, and what differs in them."""
        table = change.table
        now = {_part_of(day) for day in change.all_days()} if table.has_day else {_ALL}
        had_rows_without_day, entry.has_rows_without_day = entry.has_rows_without_day, _WITHOUT_DAY in now
        if are_columns_new:
            always = {_WITHOUT_DAY} if table.has_day else set()  # so that a reader finds the columns
            return now | always | self._parts_there(table), Written(*change.count())
        if change.is_whole:
            unlike = find_unlike(change, self._read(table), render)
            found = unlike.difference
            parts = {_part_of(day) for day in unlike.days} if table.has_day else {_ALL}
            written = Written(found.differing + found.missing, found.surplus)
            return (set() if found.is_equal else parts) | set(entry.unsettled), written
        days = change.days()
        parts = {_ALL} if days is None else {_part_of(day) for day in days}
        if had_rows_without_day or entry.has_rows_without_day:  # the log names days only
            parts.add(_WITHOUT_DAY)
        return parts | set(entry.unsettled), Written(*change.count())

    def _write_part(self, change: Change, part: str, entry: Entry) -> None:
        table = change.table
        path = "/".join(each for each in (table.name, part, f"{table.name}.parquet") if each)
        if (part != _ALL) != table.has_day:
            return self._remove(path)
        rows = change.all_rows(render) if part == _ALL else change.rows_of(render, _day_of(part))
        columns = (Column(name, kind, "") for name, kind in entry.columns.items())
        schema = schema_of([column for column in columns if part == _ALL or column.name != DAY])
        batches = cast(rows, schema)
        first = next(batches, None)
        if first is None and part not in (_ALL, _WITHOUT_DAY):
            return self._remove(path)

        def write(aside: str) -> None:
            with (
                self._folder.filesystem.open_output_stream(aside) as stream,
                pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True) as writer,
            ):
                for group in _in_groups([first] if first else [], batches):
                    writer.write_table(group)

        return self._folder.replace(path, write)

    def _remove(self, path: str) -> None:
        filesystem, target = self._folder.filesystem, f"{self._folder.root}/{path}"
        with suppress(FileNotFoundError):
            filesystem.delete_file(target)
        if self._folder.is_local:
            with suppress(OSError):  # what else is in it is not ours
                Path(target).parent.rmdir()

    def _read(self, table: Table) -> pa.RecordBatchReader:
        """Return all rows that readers of the folder see. A file that is no Parquet has none."""
        schema = schema_of(table.columns)
        return pa.RecordBatchReader.from_batches(schema, self._read_files(table, schema))

    def _read_files(self, table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for info in self._files(table):
            with self._folder.filesystem.open_input_file(info.path) as source:
                try:
                    file = pq.ParquetFile(source, page_checksum_verification=True)
                except pa.ArrowInvalid:
                    continue
                day = _day_of(info.path.split("/")[-2]) if table.has_day else None
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    if table.has_day:
                        days = pa.repeat(pa.scalar(day, pa.date32()), batch.num_rows)
                        batch = batch.append_column(DAY, days)
                    yield fit(batch, schema)

    def _parts_there(self, table: Table) -> set[str]:
        names = (info.path.removeprefix(f"{self._folder.root}/{table.name}/") for info in self._files(table))
        own = f"{table.name}.parquet"
        return {name.removesuffix(own).rstrip("/") for name in names if f"/{name}".endswith(f"/{own}")}

    def _files(self, table: Table) -> list[fs.FileInfo]:
        found = self._folder.list(table.name, is_recursive=True)
        files = (info for info in found if info.type == fs.FileType.File)
        return sorted((info for info in files if info.extension == "parquet"), key=lambda info: info.path)


def _part_of(day: date | None) -> str:
    return f"{DAY}={day.isoformat()}" if day else _WITHOUT_DAY


def _day_of(part: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(part.removeprefix(f"{DAY}="))
    return None


def _in_groups(first: list[pa.RecordBatch], batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Return rows in tables that are large enough for a row group each."""
    group, rows = first, sum(batch.num_rows for batch in first)
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        if rows >= _ROW_GROUP_ROWS:
            yield pa.Table.from_batches(group)
            group, rows = [], 0
    if group:
        yield pa.Table.from_batches(group)
