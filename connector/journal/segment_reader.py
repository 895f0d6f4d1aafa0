"""Reading a journal segment: every complete group, also after a crash, and also around damage.

What counts as complete, torn or damaged belongs here. See `connector.journal.segment` for the file format,
and `connector.journal.seal` for what is done with the groups.

A crash leaves a torn tail: a frame that was being written, cut short or with zeros in place of lost writes.
Nobody was promised that group. Any other bytes that do not fit their checksum are damage to groups that were
acknowledged, by a bad disk or memory. The groups behind it are found by looking for the next whole frame.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa

from connector.journal.delivery import Group, decode_group, to_batch
from connector.journal.segment import FRAME_HEADER, Header, receiver_of

_BATCH_BYTES = 2 * 1024 * 1024
_GROUP_MARK = b"\x92"
"""The first byte of every group: MessagePack's array of two. A header is a map."""
_SECTOR = bytes(512)
"""The least that a lost write leaves as zeros."""


class SegmentReader:
    """A reader of a closed segment, a few megabytes at a time. What it found is known once `batches` is read.

    Attributes:
        receiver_id: The receiver that wrote the segment; from the file's name if its header is damaged.
        torn_bytes: The bytes of a group at the end that a crash cut, without zeros behind it.
        damaged_bytes: The bytes of complete groups, or of the header, that do not fit their checksum, and of
            groups that are there a second time.
        missing_deliveries: The deliveries known to be missing, by the numbers of those before and after them.
    """

    def __init__(self, path: Path) -> None:
        """Prepare the reader.

        Args:
            path: A segment that is no longer written.
        """
        self._path = path
        self._reset()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the deliveries of all complete groups, in order, as batches of `EVENT_SCHEMA`.

        Raises:
            OSError: The file can't be read.
        """
        self._reset()
        groups: list[Group] = []
        size_bytes = 0
        for group, group_bytes in self._groups():
            groups.append(group)
            size_bytes += group_bytes
            if size_bytes >= _BATCH_BYTES:
                yield to_batch(self.receiver_id, groups)
                groups, size_bytes = [], 0
        if groups:
            yield to_batch(self.receiver_id, groups)

    def _reset(self) -> None:
        self.receiver_id = receiver_of(self._path)
        self.torn_bytes = self.damaged_bytes = self.missing_deliveries = 0

    def _groups(self) -> Iterator[tuple[Group, int]]:
        next_sequence: int | None = None
        read: set[int] = set()
        for payload in self._payloads():
            if not payload.startswith(_GROUP_MARK):
                self.receiver_id = msgspec.msgpack.decode(payload, type=Header).receiver_id
                continue
            group = decode_group(payload)
            if group.first_sequence in read:  # a whole frame that a disk wrote at a second place
                self.damaged_bytes += len(payload)
                continue
            read.add(group.first_sequence)
            self.missing_deliveries += group.first_sequence - (next_sequence or group.first_sequence)
            next_sequence = group.first_sequence + len(group.deliveries)
            yield group, len(payload)

    def _payloads(self) -> Iterator[bytes]:
        file_bytes = self._path.stat().st_size
        with self._path.open("rb") as file:
            while True:
                start = file.tell()
                if (payload := _read_payload(file, file_bytes)) is not None:
                    yield payload
                    continue
                file.seek(start)
                rest = file.read()
                length = _find_frame(rest)
                damaged = rest[:length] if length else rest.rstrip(b"\0")
                if (payload := _read_by_checksum(damaged)) is not None:
                    yield payload
                if length is None:
                    return self._judge_end(rest, is_whole=payload is not None)
                self.damaged_bytes += length
                file.seek(start + length)

    def _judge_end(self, rest: bytes, *, is_whole: bool) -> None:
        size_bytes = len(rest.rstrip(b"\0"))
        if _is_torn(rest) and not is_whole:
            self.torn_bytes = size_bytes
        else:
            self.damaged_bytes += size_bytes


def _read_payload(file: BinaryIO, most_bytes: int) -> bytes | None:
    """Return the next frame's payload, or None at the end or if no complete frame follows."""
    frame_header = file.read(FRAME_HEADER.size)
    if len(frame_header) < FRAME_HEADER.size:
        return None
    size, checksum = FRAME_HEADER.unpack(frame_header)
    if not 0 < size <= most_bytes:
        return None
    payload = file.read(size)
    return payload if len(payload) == size and zlib.crc32(payload) == checksum else None


def _find_frame(data: bytes) -> int | None:
    """Return where the first complete group behind a damaged frame begins; None if there is none."""
    if len(data) >= FRAME_HEADER.size:
        # A body could hold bytes that look like a frame, so the damaged frame's own length is tried first.
        named_end: int = FRAME_HEADER.size + FRAME_HEADER.unpack_from(data)[0]
        if _is_group(data, named_end):
            return named_end
    mark = data.find(_GROUP_MARK, FRAME_HEADER.size + 1)
    while mark != -1:
        if _is_group(data, mark - FRAME_HEADER.size):
            return mark - FRAME_HEADER.size
        mark = data.find(_GROUP_MARK, mark + 1)
    return None


def _is_group(data: bytes, begin: int) -> bool:
    start = begin + FRAME_HEADER.size
    if start >= len(data):
        return False
    size, checksum = FRAME_HEADER.unpack_from(data, begin)
    if not 0 < size <= len(data) - start or data[start : start + 1] != _GROUP_MARK:
        return False
    return bool(zlib.crc32(memoryview(data)[start : start + size]) == checksum)


def _read_by_checksum(frame: bytes) -> bytes | None:
    """Return the payload of a frame of which only the length is damaged; None if more is."""
    payload = frame[FRAME_HEADER.size :]
    return payload if payload and zlib.crc32(payload) == FRAME_HEADER.unpack_from(frame)[1] else None


def _is_torn(rest: bytes) -> bool:
    """Return whether a crash explains a frame that is not complete: its end or a part of it is missing."""
    if len(rest.rstrip(b"\0")) < FRAME_HEADER.size:
        return True
    size = FRAME_HEADER.unpack_from(rest)[0]
    payload = rest[FRAME_HEADER.size :][:size]
    return size > 0 and (len(payload) < size or payload.endswith(b"\0") or _SECTOR in payload)
