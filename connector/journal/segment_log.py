"""The row of segments in a journal folder: one that is open, and those that wait to be sealed.

When a segment begins and ends belongs here, and what happens to one whose disk failed. Who waits for
what is `connector.journal.group_commit`'s.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from connector.journal.delivery import Delivery, Group
from connector.journal.segment import SEGMENT_SUFFIX, Segment


class Unsealed(NamedTuple):
    """What waits to be landed; `age_s` is how long the oldest segment has not been written to."""

    size_bytes: int
    age_s: float


class SegmentLog:
    """The open segment and those before it. One thread appends at a time; any may ask for the others."""

    def __init__(self, folder: Path, receiver_id: str, segment_bytes: int, segment_age_s: float) -> None:
        self._folder = folder
        self._receiver_id = receiver_id
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._open: Segment | None = None
        self._opened_at_s = 0.0
        self._segment_count = 0
        self._next_sequence = 0
        self._lock = Lock()

    def append(self, deliveries: Sequence[Delivery]) -> float:
        """Store a group durably and say how long it took, in seconds; nothing is promised if it raises."""
        started_at_s = time.monotonic()
        with self._lock:
            first_sequence = self._next_sequence
            # A group that failed may still be on the disk: its numbers are never given again.
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

    def end_segment(self) -> None:
        """Close the open segment, if there is one; one without a group is removed."""
        with self._lock:
            self._end_segment()

    def closed_segments(self) -> list[Path]:
        """The segments no one writes to, oldest first; ends the open one if it is old enough."""
        # Listed before the lock, so that nobody who appends waits for it: what opens later is not in it.
        paths = sorted(self._folder.glob(f"*{SEGMENT_SUFFIX}"))
        with self._lock:
            if self._open and time.monotonic() - self._opened_at_s >= self._segment_age_s:
                self._end_segment()
            open_path = self._open.path if self._open else None
        return [path for path in paths if path != open_path]

    def unsealed(self) -> Unsealed:
        """How much is in the folder."""
        stats = [path.stat() for path in self._folder.glob(f"*{SEGMENT_SUFFIX}")]
        oldest_at_s = min((stat.st_mtime for stat in stats), default=None)
        age_s = 0.0 if oldest_at_s is None else max(0.0, time.time() - oldest_at_s)
        return Unsealed(sum(stat.st_size for stat in stats), age_s)

    def _end_segment(self) -> None:
        segment, self._open = self._open, None
        if segment is not None:
            segment.close()
            if segment.group_count == 0:
                segment.path.unlink(missing_ok=True)

    def _begin_segment(self) -> Segment:
        self._segment_count += 1
        name = f"{self._receiver_id}-{self._segment_count:06d}{SEGMENT_SUFFIX}"
        self._open = Segment(self._folder / name, self._receiver_id)
        self._opened_at_s = time.monotonic()
        return self._open
