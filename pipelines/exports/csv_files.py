"""Exports to CSV: a folder of our own with one file a table, each swapped whole.

The files belong here. What stands in a field does not: see `pipelines.exports.csv_text`. Which files are ours
does not either: see `pipelines.exports.csv_state`.
"""

import filecmp
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from uuid import UUID

import pyarrow as pa
from pyarrow import csv

from connector.system.files import make_file, make_folder
from pipelines.exports import csv_text
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Render, Source, Table
from pipelines.exports.csv_state import LOCK, FolderState, Format, refuse_if_not_ours
from pipelines.exports.local_files import choose, only_writer, path_of, swap, using
from pipelines.exports.row_comparison import Row, compare_rows, count_changes
from pipelines.exports.target import Difference, TargetError, Written

_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 64_000_000
"""The longest row that can be read back."""


@contextmanager
def open_csv(address: Address, *, wait_s: float) -> Iterator["CsvTarget"]:
    """Open a folder. What was not finished at the end is removed.

    Raises:
        TargetError: It can't be used, is not ours, or another process exports to it after `wait_s` seconds.
    """
    folder = path_of(address, "csv:/folder")
    no, yes = "false", "true"
    options = choose(address, gzip=(no, yes), bom=(no, yes), formulas=("defused", "kept"))
    form = Format(options["gzip"] == yes, options["bom"] == yes, options["formulas"] == "defused")
    with using(address):
        refuse_if_not_ours(folder)
        make_folder(folder)
    with only_writer(address, folder / LOCK, wait_s):
        with using(address):
            target = CsvTarget(address, folder, form)
            target.discard()
        try:
            yield target
        finally:
            target.discard()


class CsvTarget:
    """The files of one folder."""

    def __init__(self, address: Address, folder: Path, form: Format) -> None:
        self._address = address
        self._folder = folder
        self._format = form
        self._state = FolderState(folder)
        self._done: dict[str, UUID] = {}
        self._asides: dict[str, Path] = {}

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:
        """Return the id of the publish at which the files stand that have the columns of their tables."""
        with using(self._address):
            standing = self._state.find_standing(self._format)
            fitting = {table.name for table in tables if table.name in standing and self._has_header(table)}
        return {table: each for table, each in standing.items() if table in fitting}

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Write the file of a table beside the one that is there."""
        table = change.table.name
        path = self._path(table)
        aside = path.with_name(f".{path.name}.partial")
        self._done[table] = publish_id
        with using(self._address):
            if path.exists() and not self._state.is_ours(path.name):
                raise TargetError(
                    f"{path} is not ours. Nothing was written. Rename it, or name another folder."
                )
            make_file(aside)
            with aside.open("wb") as file:
                self._write_rows(file, change)
            if path.exists() and filecmp.cmp(aside, path, shallow=False):
                aside.unlink()
                return Written()
        self._asides[table] = aside
        return count_changes(change)

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""
        self._done[table] = publish_id

    def finish(self, source: Source) -> None:  # noqa: ARG002 - nothing is made from several tables
        """Let the new files take their places, then note where they stand."""
        with using(self._address):
            if self._asides:
                self._state.claim(self._asides, self._format)
            for table, aside in self._asides.items():
                swap(aside, self._path(table))
            if self._done:
                self._state.note(self._done, self._format)

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare a file, read back by another reader of CSV than ours, with all rows of a table."""
        table = change.table
        path = self._path(table.name)
        if not (self._state.is_ours(path.name) and path.exists()):
            raise TargetError(f"There is no {path} yet. Export the table first.")
        render = partial(csv_text.value, is_defused=self._format.is_defused)
        with using(self._address):
            return compare_rows(table, lambda: _rows(change, render), self._read_back(path, table), sample)

    def discard(self) -> None:
        """Remove what was written aside, now or by a process that was killed."""
        for path in self._folder.glob(".*.csv*.partial"):
            path.unlink(missing_ok=True)

    def _path(self, table: str) -> Path:
        return self._folder / self._format.name_file(table)

    def _write_rows(self, file: BinaryIO, change: Change) -> None:
        if self._format.is_compressed:  # without a time, so that equal rows are equal bytes
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                self._write_lines(cast("BinaryIO", packed), change)
        else:
            self._write_lines(file, change)

    def _write_lines(self, file: BinaryIO, change: Change) -> None:
        file.write(self._header(change.table))
        batches = change.all_rows(partial(csv_text.field, is_defused=self._format.is_defused))
        file.writelines(
            _lines(zip(*map(pa.Array.to_pylist, batch.columns), strict=True)) for batch in batches
        )

    def _header(self, table: Table) -> bytes:
        is_defused = self._format.is_defused
        names = [csv_text.header_field(column, is_defused=is_defused) for column in table.columns]
        return (_BOM if self._format.has_bom else b"") + _lines([names])

    def _has_header(self, table: Table) -> bool:
        header, path = self._header(table), self._path(table.name)
        with gzip.open(path) if self._format.is_compressed else path.open("rb") as file:
            return file.read(len(header)) == header

    def _read_back(self, path: Path, table: Table) -> Iterator[Row]:
        is_defused = self._format.is_defused
        header = tuple(csv_text.header_value(column, is_defused=is_defused) for column in table.columns)
        compression = "gzip" if self._format.is_compressed else None
        try:
            with pa.input_stream(path, compression=compression) as stream:
                batches = _open_reader(stream, len(header))
                rows = (row for batch in batches for row in zip(*_columns(batch), strict=True))
                if next(rows, None) != header:
                    raise TargetError(f"{path} has other columns than the table. Export it again.")
                yield from rows
        except pa.ArrowInvalid as error:
            raise TargetError(
                f"{path} is not as we wrote it: {error}. Remove it, and export again."
            ) from None


def _open_reader(stream: pa.NativeFile, columns: int) -> csv.CSVStreamingReader:
    """Open a reader of texts for a file whose first row is its header."""
    names = [f"f{number}" for number in range(columns)]
    return csv.open_csv(
        stream,
        csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, autogenerate_column_names=True),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _rows(change: Change, render: Render) -> Iterator[Row]:
    for batch in change.all_rows(render):
        yield from zip(*_columns(batch), strict=True)


def _columns(batch: pa.RecordBatch) -> Sequence[list[object]]:
    columns = [column.to_pylist() for column in batch.columns]
    # on a line of one field, null can't be told from an empty text
    return columns if len(columns) > 1 else [[value or "" for value in columns[0]]]


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Return lines. One of a single empty field is quoted, because readers skip empty lines."""
    return "".join((",".join(row) or '""') + "\n" for row in rows).encode()
