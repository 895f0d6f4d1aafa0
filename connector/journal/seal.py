"""Sealing: a closed journal segment is landed as Parquet, then removed.

The order of these two steps, and the retries while landing is unavailable, belong here.
`connector.journal.segment_log` decides when a segment is closed. See `connector.journal.land` for what is
landed of a segment.

A segment is removed only after its rows are landed durably. The landed name is made from the segment's name,
so a seal that was killed between the two steps lands the same file again. A segment that could not be read as
a whole is kept aside, for a person to look at.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from connector.journal.group_commit import Journal
from connector.journal.land import Landed, digest_of, land
from connector.journal.segment import DAMAGED_SUFFIX, receiver_of
from connector.journal.segment_reader import SegmentReader
from connector.landing.files import Landing
from connector.metrics import Metrics
from connector.system.files import fsync_path

logger = logging.getLogger(__name__)

_LONGEST_TICK_S = 1.0
_LONGEST_WAIT_S = 60.0
_LONG_LANDING_S = 30.0
"""The time after which a log line says that landing still works on a segment."""


def seal_segment(path: Path, landing: Landing, *, is_new: bool = False) -> Landed:
    """Land the complete groups of a closed segment, then remove it, or keep it aside if it is damaged.

    Args:
        path: The segment.
        landing: Where to land it.
        is_new: Whether this process wrote the segment under the id that it has now.

    Returns:
        The landed files: one for each UTC day of receipt, none if the segment has no complete group.

    Raises:
        OSError: The segment can't be read, or landing can't store it. The segment stays.
    """
    reader = SegmentReader(path)
    landed = land(path, reader, landing, is_new=is_new)
    if reader.torn_bytes:
        logger.info(
            "A segment ended with an incomplete group, which was never acknowledged",
            extra={"segment": path.name, "torn_bytes": reader.torn_bytes},
        )
    if reader.damaged_bytes:
        _keep_aside(path, reader)
    else:
        path.unlink()
    return landed


def _keep_aside(path: Path, reader: SegmentReader) -> None:
    aside = path.with_suffix(f".{digest_of(path)}{DAMAGED_SUFFIX}")
    path.rename(aside)
    fsync_path(aside.parent)
    logger.error(
        "A segment is damaged. What can be read of it is landed; the segment is kept aside. Check the disk",
        extra={
            "path": str(aside),
            "damaged_bytes": reader.damaged_bytes,
            "deliveries_known_to_be_missing": reader.missing_deliveries,
        },
    )


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
        self._failed: dict[Path, None] = {}
        self.failure: str | None = None
        """The error of the last attempt to land; None if it succeeded."""

    async def run(self) -> None:
        """Seal until `stop`, then once more. After a failure, try again with longer and longer waits."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._measure_regularly(), name="sealer-gauges")
            wait_s = self._tick_s
            while not self._stopping.is_set():
                has_worked = await self._work()
                wait_s = self._tick_s if has_worked else min(wait_s * 2, _LONGEST_WAIT_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait_s)
            await self._work()
        await self._measure()

    def stop(self) -> None:
        """Make `run` seal the segments that are closed by now, and return."""
        self._stopping.set()

    async def _work(self) -> bool:
        try:
            return await self._seal_all()
        except Exception as error:  # noqa: BLE001 - without a free descriptor even listing a folder fails
            self._note(error, "The journal folder can't be listed; its segments stay")
            return False

    async def _seal_all(self) -> bool:
        # What failed comes last, and of that what failed longest ago first: a segment that can't be read must
        # block no other, whether that has failed too or not.
        has_sealed = False
        closed = await self._journal.closed_segments()
        new = [path for path in closed if path not in self._failed]
        for path in [*new, *(path for path in self._failed if path in closed)]:
            self._failed.pop(path, None)
            try:
                await self._seal(path)
            except Exception as error:  # noqa: BLE001 - an unreachable store raises errors of many types
                self._failed[path] = None
                self._note(error, "A segment can't be landed; it stays in the journal", segment=path.name)
                return has_sealed
            self._metrics.sealed.inc()
            has_sealed = True
        self.failure = None
        return True

    def _note(self, error: Exception, message: str, **fields: str) -> None:
        self._landing, self.failure = None, f"{type(error).__name__}: {error}"
        self._metrics.seal_failures.inc()
        logger.error(message, extra=fields | {"error": self.failure})

    async def _seal(self, path: Path) -> None:
        is_new = receiver_of(path) == self._journal.receiver_id
        sealing = asyncio.create_task(asyncio.to_thread(self._seal_on_thread, path, is_new=is_new))
        while not (await asyncio.wait([sealing], timeout=_LONG_LANDING_S))[0]:
            logger.warning(
                "Landing is slow or hangs; the journal keeps what comes", extra={"segment": path.name}
            )
        landed = sealing.result()
        for file in landed.files:
            logger.info("Landed", extra={"path": file.path, "size_bytes": file.size_bytes})
        if landed.new_receiver_id is not None:
            self._metrics.landing_clashes.inc()
            logger.error(
                "Landing had other deliveries under the name of this segment, so it landed under a new name. "
                "Does a copy of this machine or of its journal run?",
                extra={"segment": path.name, "landed_as": landed.new_receiver_id},
            )
            if is_new:
                await self._journal.continue_as(landed.new_receiver_id)

    def _seal_on_thread(self, path: Path, *, is_new: bool) -> Landed:
        if self._landing is None:
            self._landing = self._open_landing()
        return seal_segment(path, self._landing, is_new=is_new)

    async def _measure_regularly(self) -> None:
        # Beside sealing and not after it, because landing can hang, and that must be seen.
        while not self._stopping.is_set():
            await self._measure()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._tick_s)

    async def _measure(self) -> None:
        with suppress(Exception):  # sealing goes on without gauges; it meets the same error, and logs it
            unsealed = await self._journal.unsealed()
            self._metrics.journal_bytes.set(unsealed.size_bytes)
            self._metrics.unsealed_age_s.set(unsealed.age_s)
            self._metrics.damaged_segments.set(unsealed.damaged_segments)
