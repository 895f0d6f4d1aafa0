"""A journal segment: a file that only grows, of groups of deliveries, each whole or not there at all.

The file's format, writing it durably and reading it back after a crash belong here. When a segment is
begun or ended, and by whom, is `connector.journal`'s to say.

A segment is a row of frames: a length and a CRC-32 (little-endian, four bytes each), then that many
bytes. The first frame holds an Arrow IPC schema, every other an Arrow IPC record batch. The checksum
tells a group that was never finished from one that was, also where a lost write left zeros behind.
"""

import fcntl
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from connector.schemas import EVENT_SCHEMA

SEGMENT_SUFFIX = ".segment"

_FRAME_HEADER = struct.Struct("<II")


class Segment:
    """A segment open for appending. Not for use by two threads at once."""

    def __init__(self, path: Path) -> None:
        """Create the segment durably.

        Raises:
            OSError: The file can't be created or synced; nothing is left behind.
        """
        self.path = path
        self.size_bytes = 0
        self.batch_count = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._write_frame(EVENT_SCHEMA.serialize())
            sync_folder(path.parent)
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch; when this returns, it survives a loss of power.

        Raises:
            OSError: It is not known what the disk holds now. Append no more to this segment: a sync
                that failed once may succeed the next time without having written anything.
        """
        self._write_frame(batch.serialize())
        self.batch_count += 1

    def close(self) -> None:
        """Close the file; what was appended is durable already."""
        os.close(self._descriptor)

    def _write_frame(self, payload: pa.Buffer) -> None:
        header = _FRAME_HEADER.pack(payload.size, zlib.crc32(payload))
        written = os.writev(self._descriptor, [header, payload])
        if written != len(header) + payload.size:
            raise OSError(f"{self.path}: only {written} bytes could be written; is the disk full?")
        _sync(self._descriptor)
        self.size_bytes += written


class Recovered(NamedTuple):
    """What a segment holds: its whole batches in order, and the number of bytes that are no whole batch."""

    table: pa.Table
    torn_bytes: int


def read_segment(path: Path) -> Recovered:
    """Read every whole batch of a segment and cut the torn tail, if there is one.

    Raises:
        OSError: The file can't be read.
    """
    if path.stat().st_size == 0:
        return Recovered(EVENT_SCHEMA.empty_table(), 0)
    data = pa.memory_map(str(path)).read_buffer()
    schema, batches, whole_bytes = EVENT_SCHEMA, [], 0
    for payload, end in _frames(data):
        if whole_bytes == 0:
            schema = pa.ipc.read_schema(payload)
        else:
            batches.append(pa.ipc.read_record_batch(payload, schema))
        whole_bytes = end
    return Recovered(pa.Table.from_batches(batches, schema), data.size - whole_bytes)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _frames(data: pa.Buffer) -> Iterator[tuple[pa.Buffer, int]]:
    start = 0
    while start + _FRAME_HEADER.size <= data.size:
        size, checksum = _FRAME_HEADER.unpack_from(data, start)
        start += _FRAME_HEADER.size
        if size == 0 or start + size > data.size:
            return
        payload = data.slice(start, size)
        if zlib.crc32(payload) != checksum:
            return
        start += size
        yield payload, start


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS's fsync stops at the drive's own cache
    else:
        os.fdatasync(descriptor)
