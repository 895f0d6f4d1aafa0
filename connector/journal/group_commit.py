"""The journal: deliveries made durable in groups, each acknowledged only after its fsync has returned.

Group commit, the bounded queue and the lock belong here. See `connector.journal.segment_log` for the segment
that a group goes into, `connector.journal.segment` for its bytes, and `connector.journal.seal` for landing.

While one fsync runs, the next group gathers. There are no timers. A fast fsync runs on the event loop,
because handing it to a thread and back would take longer. After a slow one, the next ones run on a thread
until they are fast again.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from connector.errors import OperatorError
from connector.journal.delivery import Delivery
from connector.journal.segment import DAMAGED_SUFFIX, SEGMENT_SUFFIX
from connector.journal.segment_log import SegmentLog, Unsealed
from connector.metrics import Metrics
from connector.system.files import make_folder, move_without_replacing
from connector.system.lock import LockHeldError, hold_lock

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_QUEUED_DELIVERIES = 16_384

# A request whose bytes have arrived needs this many turns of the event loop to be queued: one to be read, one
# to wake its connection, one to be handled. Waiting for these requests doubles the group when many senders
# are busy, and costs a single sender a few microseconds.
_TURNS_TO_GATHER = 3

_FAST_FSYNC_S = 0.001

_T = TypeVar("_T")


class CannotStoreError(Exception):
    """A failure to store a delivery. The sender must try again later."""


class JournalLockedError(OperatorError):
    """A journal folder that another process holds. The message names the process."""


def new_receiver_id(now: datetime, random_bytes: bytes) -> str:
    """Return an id for one run of one receiver process. Ids sort by time.

    Args:
        now: The time of the start.
        random_bytes: Some random bytes, which keep ids different when the clock jumps.
    """
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random_bytes.hex()}"


class Journal:
    """The journal of one receiver process, in its own folder."""

    def __init__(
        self, folder: Path, receiver_id: str, metrics: Metrics, *, segment_bytes: int, segment_age_s: float
    ) -> None:
        """Lock the folder.

        Args:
            folder: Created if it does not exist.
            receiver_id: New for each start. Together with the row's number it identifies a delivery.
            metrics: The metrics to count groups and fsyncs in.
            segment_bytes: The size at which a segment ends.
            segment_age_s: The age at which a segment ends.

        Raises:
            JournalLockedError: Another receiver holds the folder.
            OSError: The folder can't be used.
        """
        make_folder(folder)
        self.folder = folder
        self._lock = _hold(folder)
        self._metrics = metrics
        self._log = SegmentLog(folder, receiver_id, segment_bytes, segment_age_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._queued: list[tuple[Delivery, asyncio.Future[None]]] = []
        self._queued_bytes = 0
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._last_fsync_s = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """The error of the last group; None if it was stored."""

    def start(self) -> None:
        """Start to write what is appended."""
        self._flusher = asyncio.create_task(self._flush_until_closed(), name="journal-flusher")

    def append(self, delivery: Delivery) -> asyncio.Future[None]:
        """Queue a delivery. The future is done once the delivery is durable.

        The future fails with `CannotStoreError` if the disk fails. Then the delivery may be stored or not.

        Raises:
            CannotStoreError: The queue is full, or the journal is closing.
        """
        if self._is_closing:
            raise CannotStoreError("The receiver is stopping.")
        size_bytes = len(delivery.body)
        if len(self._queued) >= MAX_QUEUED_DELIVERIES or self._queued_bytes + size_bytes > MAX_QUEUED_BYTES:
            raise CannotStoreError("Too many deliveries are waiting for the disk.")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued.append((delivery, stored))
        self._queued_bytes += size_bytes
        self._has_work.set()
        return stored

    async def probe(self) -> bool:
        """Return whether a delivery could be stored now. After a failure, try the disk first."""
        if self._is_closing:
            return False
        if self.failure is not None:
            with suppress(CannotStoreError):
                await self._store([])
        return self.failure is None

    async def closed_segments(self) -> list[Path]:
        """End the open segment if it is old enough, and return the closed ones, oldest first."""
        return await self._on_thread(self._log.closed_segments)

    @property
    def receiver_id(self) -> str:
        """The id that deliveries are stored under now."""
        return self._log.receiver_id

    async def continue_as(self, receiver_id: str) -> None:
        """Store all following deliveries under another id, because another receiver has this one too."""
        await self._on_thread(lambda: self._log.continue_as(receiver_id))

    async def unsealed(self) -> Unsealed:
        """Return how much is not sealed yet, including the open segment."""
        return await self._on_thread(self._log.unsealed)

    def adopt(self, folder: Path) -> None:
        """Move the segments of another folder to this one, unless a running receiver holds that folder.

        Otherwise the deliveries of a worker that is no longer started, or of a host whose disk was moved
        here, would never be landed. A folder that was copied has segments of the same names; those wait until
        the next start, when ours are landed and can be compared with them.
        """
        with suppress(JournalLockedError), _hold(folder):
            for path in [*folder.glob(f"*{SEGMENT_SUFFIX}"), *folder.glob(f"*{DAMAGED_SUFFIX}")]:
                try:
                    move_without_replacing(path, self.folder / path.name)
                except FileExistsError:
                    logger.warning(
                        "The journal has a segment of this name already, so it waits for the next start",
                        extra={"path": str(path)},
                    )

    async def drain(self) -> None:
        """Accept nothing more, store what is queued, and end the open segment."""
        self._is_closing = True
        self._has_work.set()
        if self._flusher is not None:
            await self._flusher
        await self._on_thread(self._log.end_segment)

    def close(self) -> None:
        """Release the folder. Call this after `drain`."""
        self._thread.shutdown()
        self._lock.close()

    async def _flush_until_closed(self) -> None:
        while self._queued or not self._is_closing:
            await self._has_work.wait()
            for _ in range(_TURNS_TO_GATHER):
                await asyncio.sleep(0)
            self._has_work.clear()
            group, self._queued, self._queued_bytes = self._queued, [], 0
            if group:
                await self._flush(group)

    async def _flush(self, group: Sequence[tuple[Delivery, asyncio.Future[None]]]) -> None:
        error: CannotStoreError | None = None
        try:
            await self._store([delivery for delivery, _ in group])
        except CannotStoreError as caught:
            error = caught
        for _, stored in group:
            if stored.done():
                continue  # the sender closed the connection
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)

    async def _store(self, deliveries: Sequence[Delivery]) -> None:
        try:
            if self._last_fsync_s < _FAST_FSYNC_S:
                self._last_fsync_s = self._log.append(deliveries)
            else:
                self._last_fsync_s = await self._on_thread(lambda: self._log.append(deliveries))
        except Exception as error:  # the waiting senders need an answer to any error
            self._last_fsync_s = math.inf
            self.failure = f"{type(error).__name__}: {error}"
            self._metrics.sync_failures.inc()
            fields = {"error": self.failure, "deliveries": len(deliveries)}
            logger.error("The journal can't store", extra=fields)  # noqa: TRY400 - a traceback adds nothing
            raise CannotStoreError("The receiver's disk can't store deliveries now.") from error
        self.failure = None
        if deliveries:
            self._metrics.sync_s.observe(self._last_fsync_s)
            self._metrics.group_size.observe(len(deliveries))

    def _on_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


def _hold(folder: Path) -> ExitStack:
    lock = ExitStack()
    try:
        lock.enter_context(hold_lock(folder / "lock"))
    except LockHeldError as error:
        raise JournalLockedError(
            f"The journal {folder} is in use by the receiver with process id {error.holder}. Stop that "
            "receiver first, or set another VERBEX_DATA_DIR for this one."
        ) from None
    return lock
