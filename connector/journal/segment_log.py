"""The segments in a journal folder: the open one, and those that wait to be sealed.

The begin and end of a segment belong here, and the handling of a segment whose disk failed. See
`connector.journal.group_commit` for the senders that wait.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from connector.journal.delivery import Delivery, Group
from connector.journal.segment import DAMAGED_SUFFIX, SEGMENT_SUFFIX, Segment, segment_name


class Unsealed(NamedTuple):
    """The amount that waits to be landed. `age_s` is the time since the oldest segment was last written.

    `damaged_segments` do not wait: they were kept aside.
    """

    size_bytes: int
    age_s: float
    damaged_segments: int


class SegmentLog:
    """The open segment and those before it. One thread appends at a time; any thread may list segments."""

    def __init__(self, folder: Path, receiver_id: str, segment_bytes: int, segment_age_s: float) -> None:
        self._folder = folder
        self.receiver_id = receiver_id
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._open: Segment | None = None
        self._opened_at_s = 0.0
        self._segment_count = 0
        self._next_sequence = 0
        self._lock = Lock()

    def append(self, deliveries: Sequence[Delivery]) -> float:
        """Store a group durably and return the seconds that it took. If this raises, nothing is promised."""
        started_at_s = time.monotonic()
        with self._lock:
            first_sequence = self._next_sequence
            # A group that failed may still be on the disk, so its numbers are never used again.
            self._next_sequence += len(deliveries)
            segment = self._open or self._begin_segment()
            if not deliveries:
                return 0.0
            try:
                segment.append(Group(first_sequence, deliveries))
            except BaseException:
                self._end_segment()
                raise
            if segment.size_bytes >= self._segment_bytes:
                self._end_segment()
        return time.monotonic() - started_at_s

    def continue_as(self, receiver_id: str) -> None:
        """Write all following deliveries under another id. Their numbers go on."""
        with self._lock:
            self._end_segment()
            self.receiver_id = receiver_id

    def end_segment(self) -> None:
        """Close the open segment, if there is one. Remove it if it has no group."""
        with self._lock:
            self._end_segment()

    def closed_segments(self) -> list[Path]:
        """End the open segment if it is old enough, and return the closed ones, oldest first."""
        # Listed before the lock is taken, so that no append waits. A segment opened later is not in the list.
        paths = sorted(self._folder.glob(f"*{SEGMENT_SUFFIX}"))
        with self._lock:
            if self._open and time.monotonic() - self._opened_at_s >= self._segment_age_s:
                self._end_segment()
            open_path = self._open.path if self._open else None
        return [path for path in paths if path != open_path]

    def unsealed(self) -> Unsealed:
        """Return how much is in the folder."""
        stats = []
        for path in self._folder.glob(f"*{SEGMENT_SUFFIX}"):
            with suppress(FileNotFoundError):  # it may be sealed and removed meanwhile
                stats.append(path.stat())
        oldest_at_s = min((stat.st_mtime for stat in stats), default=None)
        age_s = 0.0 if oldest_at_s is None else max(0.0, time.time() - oldest_at_s)
        damaged_segments = sum(1 for _ in self._folder.glob(f"*{DAMAGED_SUFFIX}"))
        return Unsealed(sum(stat.st_size for stat in stats), age_s, damaged_segments)

    def _end_segment(self) -> None:
        segment, self._open = self._open, None
        if segment is not None:
            segment.close()
            if segment.group_count == 0:
                segment.path.unlink(missing_ok=True)

    def _begin_segment(self) -> Segment:
        self._segment_count += 1
        name = segment_name(self.receiver_id, self._segment_count)
        self._open = Segment(self._folder / name, self.receiver_id)
        self._opened_at_s = time.monotonic()
        return self._open
