"""A journal segment: a file that only grows, of groups of deliveries, each whole or not there at all.

The file's format, writing it durably and reading it back after a crash belong here. When a segment is
begun or ended, and by whom, is `connector.journal.group_commit`'s to say.

A segment is a row of frames: a length and a CRC-32 (little-endian, four bytes each), then that many
bytes of MessagePack. The first frame holds a `Header`, every other one a `Group`. The checksum tells a
group that was never finished from one that was, also where a lost write left zeros behind.

As a segment grows, zeros are written ahead of its end and overwritten later: a sync that changes no file
size takes about half the time. They are cut off when it is closed, and mean nothing where it was not.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa

from connector.journal.delivery import Group, decode_group, encode_group, to_batch
from connector.system.files import fsync_data, fsync_path

SEGMENT_SUFFIX = ".segment"

_FRAME_HEADER = struct.Struct("<II")
_BATCH_BYTES = 2 * 1024 * 1024
_MAX_ZEROS_BYTES = 1024 * 1024


class Header(msgspec.Struct, frozen=True):
    """What all deliveries of a segment have in common; `format` grows when older readers can't follow."""

    receiver_id: str
    format: int = 1


class Segment:
    """A segment open for appending. Not for use by two threads at once."""

    def __init__(self, path: Path, receiver_id: str) -> None:
        """Create the segment durably.

        Raises:
            OSError: The file can't be created or synced; nothing is left behind.
        """
        self.path = path
        self.size_bytes = 0
        self.group_count = 0
        self._file_bytes = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._write_frame(msgspec.msgpack.encode(Header(receiver_id)))
            fsync_path(path.parent)
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def append(self, group: Group) -> None:
        """Write a group; when this returns, it survives a loss of power.

        Raises:
            OSError: It is not known what the disk holds now. Append no more to this segment: a sync
                that failed once may succeed the next time without having written anything.
        """
        self._write_frame(encode_group(group))
        self.group_count += 1

    def close(self) -> None:
        """Close the file; what was appended is durable already."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.size_bytes)
        os.close(self._descriptor)

    def _write_frame(self, payload: bytes) -> None:
        frame = _FRAME_HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        end = self.size_bytes + len(frame)
        # As many zeros as there are bytes before them, so that a segment of few events stays small.
        zeros = bytes(min(end, _MAX_ZEROS_BYTES)) if end > self._file_bytes else b""
        written = os.pwrite(self._descriptor, frame + zeros, self.size_bytes)
        if written < len(frame):
            raise OSError(f"{self.path}: only {written} of {len(frame)} bytes were taken; is the disk full?")
        fsync_data(self._descriptor)
        self._file_bytes = max(self._file_bytes, self.size_bytes + written)
        self.size_bytes = end


class SegmentReader:
    """Reads a closed segment from its start to its last whole group, a few megabytes at a time."""

    def __init__(self, path: Path) -> None:
        """Prepare.

        Args:
            path: A segment that nobody writes to any more.
        """
        self._path = path
        self.torn_bytes = 0
        """Once the batches are read: the bytes after the last whole group, zeros at the end aside."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The deliveries of all whole groups, in order, as batches of `EVENT_SCHEMA`.

        Raises:
            OSError: The file can't be read.
        """
        payloads = self._payloads()
        header = next(payloads, None)
        if header is None:
            return
        receiver_id = msgspec.msgpack.decode(header, type=Header).receiver_id
        groups: list[Group] = []
        size_bytes = 0
        for payload in payloads:
            groups.append(decode_group(payload))
            size_bytes += len(payload)
            if size_bytes >= _BATCH_BYTES:
                yield to_batch(receiver_id, groups)
                groups, size_bytes = [], 0
        if groups:
            yield to_batch(receiver_id, groups)

    def _payloads(self) -> Iterator[bytes]:
        whole_bytes, file_bytes = 0, self._path.stat().st_size
        with self._path.open("rb") as file:
            while (payload := _read_payload(file, file_bytes)) is not None:
                whole_bytes = file.tell()
                yield payload
            file.seek(whole_bytes)
            self.torn_bytes = len(file.read().rstrip(b"\0"))


def _read_payload(file: BinaryIO, most_bytes: int) -> bytes | None:
    """The next frame's payload; None at the end, or where no whole frame follows."""
    frame_header = file.read(_FRAME_HEADER.size)
    if len(frame_header) < _FRAME_HEADER.size:
        return None
    size, checksum = _FRAME_HEADER.unpack(frame_header)
    if not 0 < size <= most_bytes:
        return None
    payload = file.read(size)
    return payload if len(payload) == size and zlib.crc32(payload) == checksum else None
