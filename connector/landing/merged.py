"""Merged files of landing: many small files in one, with metadata that says which rows came from which file.

The shape of the metadata and the reading of a part belong here. `connector.landing.compaction` decides which
files are merged, and when. `connector.landing.files` hides merging from readers.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from threading import Lock
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

_PREFIX = "merged-"
_PARTS_KEY = "verbex.parts"

# Some 100 MB each at most: parts take 300 bytes, row groups some 32 MB.
_KEPT_PARTS = 300_000
_KEPT_ROW_GROUPS = 3


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


class _Contents(NamedTuple):
    """What the footer of a merged file says: its parts, its columns, and the row at which each group ends."""

    parts: list[Part]
    columns: tuple[str, ...]
    row_group_ends: list[int]


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
    """A reader of merged files. They never change, so what was read of the last ones is kept."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root
        self._contents: OrderedDict[str, _Contents] = OrderedDict()
        self._row_groups: OrderedDict[_RowGroup, pa.Table] = OrderedDict()
        self._reading = Lock()

    def parts(self, path: str) -> list[Part]:
        """Return the parts of a merged file.

        Raises:
            FileNotFoundError: The file does not exist, or no longer: it was merged with others.
            OSError: The file can't be read.
            pa.ArrowInvalid: The file is not a merged file.
        """
        return self._contents_of(path).parts

    def read(self, part: Part, columns: Sequence[str] | None) -> pa.Table:
        """Return the rows of a part. Reading parts in their order is fast.

        Args:
            part: The part to read.
            columns: The columns to read, if they exist; None for all.

        Raises:
            FileNotFoundError: The merged file does not exist, or no longer: it was merged with others.
            OSError: The merged file can't be read.
        """
        contents = self._contents_of(part.merged_path)
        names = tuple(name for name in contents.columns if columns is None or name in columns)
        ends, last_row = contents.row_group_ends, part.first_row + part.row_count
        number = bisect_right(ends, part.first_row)
        slices = []
        while True:
            # A part without rows still has columns, so one row group is always read.
            number = min(number, len(ends) - 1)
            start = ends[number - 1] if number else 0
            rows = self._read_row_group(_RowGroup(part.merged_path, number, names))
            first = max(part.first_row, start)
            slices.append(rows.slice(first - start, max(0, min(ends[number], last_row) - first)))
            number += 1
            if number == len(ends) or ends[number - 1] >= last_row:
                return pa.concat_tables(slices)

    def _contents_of(self, path: str) -> _Contents:
        with self._reading:
            if path not in self._contents:
                self._contents[path] = self._read_contents(path)
                while len(self._contents) > 1 and self._count_parts() > _KEPT_PARTS:
                    self._contents.popitem(last=False)
            self._contents.move_to_end(path)
            return self._contents[path]

    def _count_parts(self) -> int:
        return sum(len(contents.parts) for contents in self._contents.values())

    def _read_contents(self, path: str) -> _Contents:
        with self._fs.open_input_file(f"{self._root}/{path}") as source:
            footer = pq.read_metadata(source)
        metadata = footer.metadata or {}
        if _PARTS_KEY.encode() not in metadata:
            raise pa.ArrowInvalid(
                f"{path} is named like a merged file, but its metadata lists no parts. Move it out of "
                "landing and inspect it."
            )
        parts = msgspec.json.decode(metadata[_PARTS_KEY.encode()], type=list[Part])
        sizes = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
        return _Contents(parts, tuple(footer.schema.to_arrow_schema().names), list(accumulate(sizes)))

    def _read_row_group(self, wanted: _RowGroup) -> pa.Table:
        with self._reading:  # so that threads that need the same row group read it only once
            if wanted not in self._row_groups:
                with self._fs.open_input_file(f"{self._root}/{wanted.path}") as source:
                    file = pq.ParquetFile(source, page_checksum_verification=True)
                    self._row_groups[wanted] = file.read_row_group(
                        wanted.number, columns=list(wanted.columns)
                    )
                while len(self._row_groups) > _KEPT_ROW_GROUPS:
                    self._row_groups.popitem(last=False)
            self._row_groups.move_to_end(wanted)
            return self._row_groups[wanted]
