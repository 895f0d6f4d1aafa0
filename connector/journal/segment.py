"""A journal segment: an append-only file of groups of deliveries, each complete or ignored.

The file format and durable writing belong here. See `connector.journal.segment_reader` for reading, also
after a crash or of a damaged file. `connector.journal.segment_log` decides when a segment begins and ends.

A segment is a sequence of frames: a length and a CRC-32 (little-endian, four bytes each), then that many
bytes of MessagePack. The first frame holds a `Header`, every other one a `Group`. The checksum shows whether
a group is complete, even if a lost write left zeros in it. A file is named after its receiver and its number,
so it can be read without its header.

As a segment grows, zeros are written ahead of its end and overwritten later: an fsync that does not change
the file size takes about half the time. The zeros are cut off when the segment is closed. A reader ignores
the zeros of a segment that was not closed.
"""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from connector.journal.delivery import Group, encode_group
from connector.system.files import fsync_data, fsync_path

SEGMENT_SUFFIX = ".segment"

DAMAGED_SUFFIX = ".damaged"
"""The end of the name of a segment that was kept aside, because not all of it could be read."""

FRAME_HEADER = struct.Struct("<II")
_MAX_ZEROS_BYTES = 1024 * 1024


class Header(msgspec.Struct, frozen=True):
    """The facts that all deliveries of a segment share. `format` grows when older readers can't read it."""

    receiver_id: str
    format: int = 1


def segment_name(receiver_id: str, number: int) -> str:
    """Return the file name of a receiver's segment."""
    return f"{receiver_id}-{number:06d}{SEGMENT_SUFFIX}"


def receiver_of(path: Path) -> str:
    """Return the receiver that a segment is named after."""
    return path.stem.rpartition("-")[0]


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
        frame = FRAME_HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        end = self.size_bytes + len(frame)
        # As many zeros as there are bytes before them, so that a segment with few events stays small.
        zeros = bytes(min(end, _MAX_ZEROS_BYTES)) if end > self._file_bytes else b""
        written = os.pwrite(self._descriptor, frame + zeros, self.size_bytes)
        if written < len(frame):
            raise OSError(
                f"{self.path}: only {written} of {len(frame)} bytes were written. Check if the disk is full."
            )
        fsync_data(self._descriptor)
        if not os.fstat(self._descriptor).st_nlink:
            raise OSError(
                f"{self.path} was removed while it was written. Let nothing remove or move the journal."
            )
        self._file_bytes = max(self._file_bytes, self.size_bytes + written)
        self.size_bytes = end
