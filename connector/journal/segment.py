"""A journal segment: an append-only file of groups of deliveries, each complete or ignored.

The file format, durable writing, and reading after a crash belong here. `connector.journal.segment_log`
decides when a segment begins and ends.

A segment is a sequence of frames: a length and a CRC-32 (little-endian, four bytes each), then that many
bytes of MessagePack. The first frame holds a `Header`, every other one a `Group`. The checksum shows whether
a group is complete, even if a lost write left zeros in it.

As a segment grows, zeros are written ahead of its end and overwritten later: an fsync that does not change
the file size takes about half the time. The zeros are cut off when the segment is closed. A reader ignores
the zeros of a segment that was not closed.
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
    """The facts that all deliveries of a segment share. `format` grows when older readers can't read it."""

    receiver_id: str
    format: int = 1


class Segment:
    """A segment that is open for appending. Two threads must not use it at the same time."""

    def __init__(self, path: Path, receiver_id: str) -> None:
        """Create the segment durably.

        Raises:
            OSError: The file can't be created or fsynced. Nothing is left behind.
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
        """Write a group. When this returns, the group survives a loss of power.

        Raises:
            OSError: The disk may hold the group or not. Append no more to this segment: an fsync that failed
                once may succeed the next time without having written anything.
        """
        self._write_frame(encode_group(group))
        self.group_count += 1

    def close(self) -> None:
        """Close the file. Everything appended is already durable."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.size_bytes)
        os.close(self._descriptor)

    def _write_frame(self, payload: bytes) -> None:
        frame = _FRAME_HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        end = self.size_bytes + len(frame)
        # As many zeros as there are bytes before them, so that a segment with few events stays small.
        zeros = bytes(min(end, _MAX_ZEROS_BYTES)) if end > self._file_bytes else b""
        written = os.pwrite(self._descriptor, frame + zeros, self.size_bytes)
        if written < len(frame):
            raise OSError(
                f"{self.path}: only {written} of {len(frame)} bytes were written. Check if the disk is full."
            )
        fsync_data(self._descriptor)
        self._file_bytes = max(self._file_bytes, self.size_bytes + written)
        self.size_bytes = end


class SegmentReader:
    """A reader of a closed segment, from its start to its last complete group, a few megabytes at a time."""

    def __init__(self, path: Path) -> None:
        """Prepare the reader.

        Args:
            path: A segment that is no longer written.
        """
        self._path = path
        self.torn_bytes = 0
        """The bytes after the last complete group, without zeros at the end. Known once `batches` is read."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the deliveries of all complete groups, in order, as batches of `EVENT_SCHEMA`.

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
    """Return the next frame's payload, or None at the end or if no complete frame follows."""
    frame_header = file.read(_FRAME_HEADER.size)
    if len(frame_header) < _FRAME_HEADER.size:
        return None
    size, checksum = _FRAME_HEADER.unpack(frame_header)
    if not 0 < size <= most_bytes:
        return None
    payload = file.read(size)
    return payload if len(payload) == size and zlib.crc32(payload) == checksum else None
