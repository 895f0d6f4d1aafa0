"""Merged files of the landing zone: many small files in one, whose metadata says which rows were whose.

The metadata's shape and reading a part back belong here. Which files are merged, and when, is
`connector.landing.compaction`'s to say; that readers never notice is `connector.landing.files`'s.
"""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

_PREFIX = "merged-"
_PARTS_KEY = "verbex.parts"


class Part(msgspec.Struct, frozen=True):
    """The rows of one file that was merged: `row_count` rows of `merged_path` from `first_row` on.

    `path` and `size_bytes` are those it was landed with; paths are relative to the landing root.
    """

    path: str
    size_bytes: int
    merged_path: str
    first_row: int
    row_count: int


class _RowGroup(NamedTuple):
    path: str
    number: int
    columns: tuple[str, ...]


def is_merged(path: str) -> bool:
    """Whether a path is a merged file's."""
    return path.rpartition("/")[2].startswith(_PREFIX)


def merged_name(identity: str) -> str:
    """The file name, without its ending, of the merged file with this identity."""
    return f"{_PREFIX}{identity}"


def parts_metadata(parts: Sequence[Part]) -> dict[str, str]:
    """What a merged file's metadata says of its parts."""
    return {_PARTS_KEY: msgspec.json.encode(parts).decode()}


class MergedFiles:
    """Reads merged files. They never change, so that what was read of one is kept."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root
        self._parts: dict[str, list[Part]] = {}
        self._row_group: _RowGroup | None = None
        self._rows: pa.Table | None = None
        self._reading = Lock()

    def parts(self, path: str) -> list[Part]:
        """The parts of a merged file.

        Raises:
            OSError: It can't be read.
            pa.ArrowInvalid: It is no merged file.
        """
        if path not in self._parts:
            with self._fs.open_input_file(f"{self._root}/{path}") as source:
                metadata = pq.read_metadata(source).metadata or {}
            if _PARTS_KEY.encode() not in metadata:
                raise pa.ArrowInvalid(f"{path} has the name of a merged file and does not say of what")
            self._parts[path] = msgspec.json.decode(metadata[_PARTS_KEY.encode()], type=list[Part])
        return self._parts[path]

    def read(self, part: Part, columns: Sequence[str] | None) -> pa.Table:
        """The rows of a part; cheap for parts that are read in their order.

        Args:
            part: Which rows of which file.
            columns: Only these, as far as there are such; None for all.

        Raises:
            OSError: The merged file can't be read.
        """
        with self._fs.open_input_file(f"{self._root}/{part.merged_path}") as source:
            file = pq.ParquetFile(source)
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            slices = [file.schema_arrow.empty_table().select(names)]
            start = 0
            for number in range(file.num_row_groups):
                end = start + file.metadata.row_group(number).num_rows
                first, last = max(start, part.first_row), min(end, part.first_row + part.row_count)
                if first < last:
                    rows = self._read_row_group(file, _RowGroup(part.merged_path, number, tuple(names)))
                    slices.append(rows.slice(first - start, last - first))
                start = end
        return pa.concat_tables(slices)

    def _read_row_group(self, file: pq.ParquetFile, wanted: _RowGroup) -> pa.Table:
        with self._reading:  # threads that read parts of one row group read it once
            if self._rows is None or self._row_group != wanted:
                self._rows = file.read_row_group(wanted.number, columns=list(wanted.columns))
                self._row_group = wanted
            return self._rows
