"""The write side of landing: a file is written under a temporary name, fsynced and renamed.

So a reader never sees half a file, and a landed file is never replaced by another one. The encoding of a
file, and the steps that make it visible, belong here. See `connector.landing.files` for which rows go into
which file.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from connector.system.files import fsync_path, make_file, make_folder, move_without_replacing

_CHUNK_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)

_REPETITIVE = [
    *("receiver_id", "fetcher_id", "event_name", "verified_by", "problem", "headers.key_value.key"),
    *("agent_id", "outcome", "error"),
]
"""The columns worth a dictionary. For bodies and ids, all different, it would add a tenth to the file."""


class FileTakenError(FileExistsError):
    """A landed file of this name is there already, and its bytes are others."""


class FileWriter:
    """A writer of files under one root. Paths are relative to that root."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root
        self._is_local = isinstance(filesystem, fs.LocalFileSystem)
        self._asides: dict[str, str] = {}

    @contextmanager
    def open_aside(self, path: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        """Open the file that will become `path`, where no reader sees it. If the block fails, nothing stays.

        Raises:
            OSError: The store can't store the file.
        """
        try:
            with self._open(path, schema) as writer:
                yield writer
        except BaseException:
            # A useless half of a file would stay forever, and most likely on a full disk.
            with suppress(OSError):
                self._fs.delete_file(self._asides.pop(path))
            raise

    def show(self, path: str) -> int:
        """Make the file from `open_aside` visible as `path`, durably. The same bytes may be there already.

        An object store has no rename that fails if the name is taken. There, two writers of one name could
        both find it free at the same instant; the second then replaces the first.

        Returns:
            The size of the file in bytes.

        Raises:
            FileTakenError: Another file has this name. It stays as it is.
            OSError: The store can't store the file. Nothing is visible.
        """
        # An object store needs the temporary name too: an upload that breaks off can still be completed, as a
        # shorter object, when its stream is closed.
        aside, target = self._asides.pop(path), f"{self._root}/{path}"
        try:
            self._move(aside, target)
        except OSError as error:
            is_there = isinstance(error, FileExistsError) and self._is_same(aside, target)
            with suppress(OSError):
                self._fs.delete_file(aside)
            if isinstance(error, FileExistsError) and not is_there:
                raise FileTakenError(f"{target} exists and has other rows, so it was not replaced.") from None
            if not is_there:
                raise
        if self._is_local:
            fsync_path(Path(target).parent)
        return int(self._fs.get_file_info(target).size)

    def _move(self, aside: str, target: str) -> None:
        if self._is_local:
            fsync_path(Path(aside))
            move_without_replacing(Path(aside), Path(target))
        elif self._fs.get_file_info(target).type == fs.FileType.NotFound:
            self._fs.copy_file(aside, target)  # a move could not delete where that is not allowed
            self._delete(aside)
        else:
            raise FileExistsError(target)

    def _is_same(self, one: str, other: str) -> bool:
        with self._fs.open_input_stream(one) as first, self._fs.open_input_stream(other) as second:
            while (chunk := first.read(_CHUNK_BYTES)) == second.read(_CHUNK_BYTES):
                if not chunk:
                    return True
        return False

    def _delete(self, aside: str) -> None:
        """Delete a temporary object. If only that is not allowed, the file has landed all the same."""
        try:
            self._fs.delete_file(aside)
        except OSError as error:
            logger.warning(
                "Landed, but its temporary object can't be deleted. Nothing reads it. Allow s3:DeleteObject, "
                "or let a rule of the bucket expire such objects",
                extra={"path": aside, "error": str(error)},
            )

    def _open(self, path: str, schema: pa.Schema) -> pq.ParquetWriter:
        folder, _, name = path.rpartition("/")
        # Random, because another process may write a file of the same name now.
        aside = self._asides[path] = f"{self._root}/{folder}/.{name}.{secrets.token_hex(4)}.tmp"
        if self._is_local:
            make_folder(Path(aside).parent)
            make_file(Path(aside))
        return pq.ParquetWriter(
            aside,
            schema,
            filesystem=self._fs,
            compression="zstd",
            compression_level=1,  # higher levels take longer and do not make events smaller
            use_dictionary=_REPETITIVE,
            write_page_checksum=True,
            column_encoding={field.name: "DELTA_BINARY_PACKED" for field in schema if _is_number(field)},
        )


def _is_number(field: pa.Field) -> bool:
    return bool(pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type))
