"""Sealing: a closed journal segment is landed as Parquet, then removed.

The order of these two steps, and the retries while landing is unavailable, belong here.
`connector.journal.segment_log` decides when a segment is closed. See `connector.landing.files` for how a file
becomes visible only when it is complete.

A segment is removed only after its rows are landed durably. The landed name is made from the segment's name,
so a seal that was killed between the two steps lands the same file again.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from connector.journal.group_commit import Journal
from connector.journal.segment import SegmentReader
from connector.landing.files import LandedFile, Landing
from connector.landing.zones import EVENTS
from connector.metrics import Metrics

logger = logging.getLogger(__name__)

_LONGEST_TICK_S = 1.0
_LONGEST_WAIT_S = 60.0


def seal_segment(path: Path, landing: Landing) -> list[LandedFile]:
    """Land the complete groups of a closed segment, then remove it.

    Returns:
        The landed files: one for each UTC day of receipt, none if the segment has no complete group.

    Raises:
        OSError: The segment can't be read, or landing can't store it. The segment stays.
    """
    reader = SegmentReader(path)
    files = landing.write_batches(reader.batches(), zone=EVENTS, name=path.stem)
    if reader.torn_bytes:
        logger.warning(
            "A segment ended with an incomplete group, which was never acknowledged",
            extra={"segment": path.name, "torn_bytes": reader.torn_bytes},
        )
    path.unlink()
    return files


class Sealer:
    """The background work that seals the closed segments of a journal. It never delays an acknowledgement."""

    def __init__(
        self, journal: Journal, open_landing: Callable[[], Landing], metrics: Metrics, *, interval_s: float
    ) -> None:
        """Prepare the sealer.

        Args:
            journal: The journal to seal, including segments that earlier runs left.
            open_landing: Called when there is something to land, and again after each failure.
            metrics: The metrics to count in.
            interval_s: The journal's own segment age; checking more often would be useless.
        """
        self._journal = journal
        self._metrics = metrics
        self._open_landing = open_landing
        self._landing: Landing | None = None
        self._tick_s = min(interval_s, _LONGEST_TICK_S)
        self._stopping = asyncio.Event()
        self._failed: set[Path] = set()
        self.failure: str | None = None
        """The error of the last attempt to land; None if it succeeded."""

    async def run(self) -> None:
        """Seal until `stop`, then once more. After a failure, try again with longer and longer waits."""
        wait_s = self._tick_s
        while not self._stopping.is_set():
            has_worked = await self._work()
            wait_s = self._tick_s if has_worked else min(wait_s * 2, _LONGEST_WAIT_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
        await self._work()

    def stop(self) -> None:
        """Make `run` seal the segments that are closed by now, and return."""
        self._stopping.set()

    async def _work(self) -> bool:
        try:
            has_worked = await self._seal_all()
            await self._measure()
        except Exception as error:  # noqa: BLE001 - without a free descriptor even listing a folder fails
            self._note(error, "The journal folder can't be listed; its segments stay")
            return False
        return has_worked

    async def _seal_all(self) -> bool:
        has_sealed = False
        # What failed before comes last: a segment that can't be read must not block the others.
        for path in sorted(await self._journal.closed_segments(), key=self._failed.__contains__):
            try:
                await asyncio.to_thread(self._seal, path)
            except Exception as error:  # noqa: BLE001 - an unreachable store raises errors of many types
                self._failed.add(path)
                self._note(error, "A segment can't be landed; it stays in the journal", segment=path.name)
                return has_sealed
            self._failed.discard(path)
            self._metrics.sealed.inc()
            has_sealed = True
        self.failure = None
        return True

    def _note(self, error: Exception, message: str, **fields: str) -> None:
        self._landing, self.failure = None, f"{type(error).__name__}: {error}"
        self._metrics.seal_failures.inc()
        logger.error(message, extra=fields | {"error": self.failure})

    async def _measure(self) -> None:
        unsealed = await self._journal.unsealed()
        self._metrics.journal_bytes.set(unsealed.size_bytes)
        self._metrics.unsealed_age_s.set(unsealed.age_s)

    def _seal(self, path: Path) -> None:
        if self._landing is None:
            self._landing = self._open_landing()
        for file in seal_segment(path, self._landing):
            logger.info("Landed", extra={"path": file.path, "size_bytes": file.size_bytes})
