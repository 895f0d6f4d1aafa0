"""Merged files of landing: many small files in one, with metadata that says which rows came from which file.

The shape of the metadata and the reading of a part belong here. `connector.landing.compaction` decides which
files are merged, and when. `connector.landing.files` hides merging from readers.
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
    """The rows of one small file that was merged: `row_count` rows of `merged_path`, starting at `first_row`.

    `path` and `size_bytes` are those of the small file when it was landed. Paths are relative to the landing
    root.
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
    """Return whether a path is that of a merged file."""
    return path.rpartition("/")[2].startswith(_PREFIX)


def merged_name(identity: str) -> str:
    """Return the file name, without its extension, of the merged file with this identity."""
    return f"{_PREFIX}{identity}"


def parts_metadata(parts: Sequence[Part]) -> dict[str, str]:
    """Return the metadata that describes a merged file's parts."""
    return {_PARTS_KEY: msgspec.json.encode(parts).decode()}


class MergedFiles:
    """A reader of merged files. They never change, so what was read is cached."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root
        self._parts: dict[str, list[Part]] = {}
        self._row_group: _RowGroup | None = None
        self._rows: pa.Table | None = None
        self._reading = Lock()

    def parts(self, path: str) -> list[Part]:
        """Return the parts of a merged file.

        Raises:
            OSError: The file can't be read.
            pa.ArrowInvalid: The file is not a merged file.
        """
        if path not in self._parts:
            with self._fs.open_input_file(f"{self._root}/{path}") as source:
                metadata = pq.read_metadata(source).metadata or {}
            if _PARTS_KEY.encode() not in metadata:
                raise pa.ArrowInvalid(
                    f"{path} is named like a merged file, but its metadata lists no parts. Move it out of "
                    "landing and inspect it."
                )
            self._parts[path] = msgspec.json.decode(metadata[_PARTS_KEY.encode()], type=list[Part])
        return self._parts[path]

    def read(self, part: Part, columns: Sequence[str] | None) -> pa.Table:
        """Return the rows of a part. Reading parts in their order is fast.

        Args:
            part: The part to read.
            columns: The columns to read, if they exist; None for all.

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
        with self._reading:  # so that threads that need the same row group read it only once
            if self._rows is None or self._row_group != wanted:
                self._rows = file.read_row_group(wanted.number, columns=list(wanted.columns))
                self._row_group = wanted
            return self._rows
