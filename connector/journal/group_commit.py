"""The journal: deliveries made durable in groups, each acknowledged only after its sync returned.

Group commit, the bounded queue and the lock belong here. Which segment a group goes into is
`connector.journal.segment_log`'s, the bytes of one are `connector.journal.segment`'s, landing them is
`connector.journal.seal`'s.

While one sync is in flight the next group gathers; there are no timers. A sync that is quick is made on
the event loop, since handing it to a thread and back takes longer than it does; as soon as one was slow,
the next are made on a thread, until they are quick again.
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
from connector.journal.segment import SEGMENT_SUFFIX
from connector.journal.segment_log import SegmentLog, Unsealed
from connector.metrics import Metrics
from connector.system.files import make_folder
from connector.system.lock import LockHeldError, hold_lock

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_QUEUED_DELIVERIES = 16_384

# A request whose bytes have arrived is that many turns of the event loop away from being queued: one to
# be read, one to wake its connection, one to be handled. Waiting for those at the door doubles a group
# when many senders are busy, and costs a lone one some microseconds.
_TURNS_TO_GATHER = 3

_QUICK_SYNC_S = 0.001

_T = TypeVar("_T")


class CannotStoreError(Exception):
    """The journal can't keep a delivery now; the sender must try again later."""


class JournalLockedError(OperatorError):
    """Another process holds the journal folder; the message says which."""


def new_receiver_id(now: datetime, random_bytes: bytes) -> str:
    """An id for one run of one receiver process; ids sort by time.

    Args:
        now: The time of the start.
        random_bytes: Some bytes of randomness, against a clock that jumps.
    """
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random_bytes.hex()}"


class Journal:
    """The journal of one receiver process, in a folder of its own."""

    def __init__(
        self, folder: Path, receiver_id: str, metrics: Metrics, *, segment_bytes: int, segment_age_s: float
    ) -> None:
        """Lock the folder.

        Args:
            folder: Created if it is not there.
            receiver_id: New for each start; with the row's number it names a delivery.
            metrics: Where to count groups and syncs.
            segment_bytes: A segment ends when it is this large,
            segment_age_s: or this old.

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
        self._last_sync_s = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Why the last group could not be stored; None when it could."""

    def start(self) -> None:
        """Begin to write what is appended."""
        self._flusher = asyncio.create_task(self._flush_until_closed(), name="journal-flusher")

    def append(self, delivery: Delivery) -> asyncio.Future[None]:
        """Queue a delivery. The future is done once the delivery is durable.

        It fails with `CannotStoreError` when the disk fails; the delivery may then be stored or not.

        Raises:
            CannotStoreError: The queue is full, or the journal is closing.
        """
        if self._is_closing:
            raise CannotStoreError("The receiver is stopping.")
        size_bytes = len(delivery.body)
        if len(self._queued) >= MAX_QUEUED_DELIVERIES or self._queued_bytes + size_bytes > MAX_QUEUED_BYTES:
            raise CannotStoreError("More deliveries are waiting for the disk than the receiver may hold.")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued.append((delivery, stored))
        self._queued_bytes += size_bytes
        self._has_work.set()
        return stored

    async def probe(self) -> bool:
        """Whether a delivery could be stored now. After a failure this tries the disk."""
        if self._is_closing:
            return False
        if self.failure is not None:
            with suppress(CannotStoreError):
                await self._store([])
        return self.failure is None

    async def closed_segments(self) -> list[Path]:
        """The segments no one writes to any more, oldest first; ends the open one if it is old enough."""
        return await self._on_thread(self._log.closed_segments)

    async def unsealed(self) -> Unsealed:
        """How much there is that has not been sealed, the open segment included."""
        return await self._on_thread(self._log.unsealed)

    def adopt(self, folder: Path) -> None:
        """Take over the segments of another folder, unless a running receiver holds it.

        A worker that is no longer started, or a host that gave its disk away, would otherwise keep what
        it had not landed yet. Segment names are unique, so moving is enough.
        """
        with suppress(JournalLockedError), _hold(folder):
            for path in folder.glob(f"*{SEGMENT_SUFFIX}"):
                path.rename(self.folder / path.name)

    async def drain(self) -> None:
        """Take nothing more, store what is queued and end the open segment."""
        self._is_closing = True
        self._has_work.set()
        if self._flusher is not None:
            await self._flusher
        await self._on_thread(self._log.end_segment)

    def close(self) -> None:
        """Let go of the folder; call it after `drain`."""
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
                continue  # the sender went away
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)

    async def _store(self, deliveries: Sequence[Delivery]) -> None:
        try:
            if self._last_sync_s < _QUICK_SYNC_S:
                self._last_sync_s = self._log.append(deliveries)
            else:
                self._last_sync_s = await self._on_thread(lambda: self._log.append(deliveries))
        except Exception as error:  # whatever it is, those who wait must be told
            self._last_sync_s = math.inf
            self.failure = f"{type(error).__name__}: {error}"
            self._metrics.sync_failures.inc()
            fields = {"error": self.failure, "deliveries": len(deliveries)}
            logger.error("The journal can't store", extra=fields)  # noqa: TRY400 - where is no riddle
            raise CannotStoreError("The receiver's disk does not take deliveries now.") from error
        self.failure = None
        if deliveries:
            self._metrics.sync_s.observe(self._last_sync_s)
            self._metrics.group_size.observe(len(deliveries))

    def _on_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


def _hold(folder: Path) -> ExitStack:
    lock = ExitStack()
    try:
        lock.enter_context(hold_lock(folder / "lock"))
    except LockHeldError as error:
        raise JournalLockedError(
            f"The journal {folder} is held by the receiver with process id {error.holder}. Stop that one "
            "first, or give this one another VERBEX_DATA_DIR."
        ) from None
    return lock
