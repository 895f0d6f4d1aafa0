"""Landing's write side: a file is written aside, fsynced and renamed, so that no half of one is ever seen.

How a file is encoded and how it appears belong here. Which rows go into which file does not:
`connector.landing.files`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from connector.system.files import fsync_path, make_folder

_REPETITIVE = [
    *("receiver_id", "fetcher_id", "event_name", "verified_by", "problem", "headers.key_value.key"),
    *("agent_id", "outcome", "error"),
]
"""Columns worth a dictionary. For bodies and ids, each a different one, it costs a tenth of the file."""


class FileWriter:
    """Writes files under one root, each by its path relative to that root."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root
        self._is_local = isinstance(filesystem, fs.LocalFileSystem)

    @contextmanager
    def open_aside(self, path: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        """Write what is to become `path`, where no reader sees it; nothing stays if the block fails.

        Raises:
            OSError: The store can't take it.
        """
        try:
            with self._open(path, schema) as writer:
                yield writer
        except BaseException:
            # Half of a file, of use to no one, would stay for good, and most likely on a disk that is full.
            with suppress(OSError):
                self._fs.delete_file(self._aside(path))
            raise

    def show(self, path: str) -> int:
        """Make what was written aside appear as `path`, durably.

        Returns:
            Its size in bytes.

        Raises:
            OSError: The store can't take it; nothing is visible.
        """
        # An object store needs the detour as well: an upload that breaks off half way can still be
        # completed, as a shorter object, when its stream is closed.
        aside, target = self._aside(path), f"{self._root}/{path}"
        if self._is_local:
            fsync_path(Path(aside))
        self._fs.move(aside, target)
        if self._is_local:
            fsync_path(Path(target).parent)
        return int(self._fs.get_file_info(target).size)

    def _open(self, path: str, schema: pa.Schema) -> pq.ParquetWriter:
        aside = self._aside(path)
        if self._is_local:
            make_folder(Path(aside).parent)
        return pq.ParquetWriter(
            aside,
            schema,
            filesystem=self._fs,
            compression="zstd",
            compression_level=1,  # higher ones take longer and save nothing on events
            use_dictionary=_REPETITIVE,
            column_encoding={field.name: "DELTA_BINARY_PACKED" for field in schema if _is_number(field)},
        )

    def _aside(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        return f"{self._root}/{folder}/.{name}.tmp"


def _is_number(field: pa.Field) -> bool:
    return bool(pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type))
