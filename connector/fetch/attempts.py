"""The rows of attempts, gathered and landed so often that a kill loses little and memory stays flat.

The row of an attempt, and the moment when rows become a file, belong here. See `connector.fetch.calls` for
what is fetched.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from connector.landing.files import Landing
from connector.landing.zones import ANSWER_SCHEMA, Outcome, Zone

FLUSH_ROWS = 1000
FLUSH_BYTES = 16 * 1024 * 1024
FLUSH_INTERVAL_S = 2.0


class Attempt(NamedTuple):
    """One attempt to fetch something of a call. `ANSWER_SCHEMA` without `fetcher_id` and `sequence`."""

    attempted_at: datetime
    call_id: str
    agent_id: str | None
    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_at: datetime | None = None
    body: bytes | None = None
    attempt_number: int | None = None
    announcements: int | None = None


def new_fetcher_id(now: datetime, rng: random.Random) -> str:
    """Return an id for one pass of one fetching process. Ids sort by time.

    Args:
        now: The time of the start, UTC.
        rng: Makes the ids of two passes different if they start at the same moment.
    """
    return f"{now:%Y%m%dT%H%M%S%f}-{rng.getrandbits(32):08x}"


class AnswerLog:
    """The attempts to land in one zone, in files named `<fetcher_id>-<number>`. Open it with `answer_log`."""

    def __init__(self, landing: Landing, zone: Zone, fetcher_id: str) -> None:
        self._landing = landing
        self._zone = zone
        self._fetcher_id = fetcher_id
        self._rows: list[tuple[Any, ...]] = []
        self._size_bytes = 0
        self._sequence = 0
        self._files = 0
        self._lock = asyncio.Lock()
        self._failure: OSError | None = None

    async def add(self, attempt: Attempt) -> None:
        """Add one attempt, and land the gathered attempts if there are enough.

        Raises:
            OSError: Landing can't store them.
        """
        if self._failure is not None:
            raise self._failure
        self._rows.append((self._fetcher_id, self._sequence, *attempt))
        self._sequence += 1
        self._size_bytes += len(attempt.body or b"")
        if len(self._rows) >= FLUSH_ROWS or self._size_bytes >= FLUSH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Land the gathered attempts. They are durable when this returns.

        Raises:
            OSError: Landing can't store them.
        """
        async with self._lock:
            rows, self._rows, self._size_bytes = self._rows, [], 0
            if not rows:
                return
            self._files += 1
            try:
                # Built here, because in the thread it would compete with fetching for Python's lock.
                table = _build_table(rows)
                await asyncio.to_thread(self._land, table, f"{self._fetcher_id}-{self._files:06d}")
            except OSError as error:
                self._failure = error
                raise

    def _land(self, table: pa.Table, name: str) -> None:
        self._landing.write(table, zone=self._zone, name=name)


@asynccontextmanager
async def answer_log(landing: Landing, zone: Zone, fetcher_id: str) -> AsyncIterator[AnswerLog]:
    """Open an `AnswerLog` that also lands every few seconds, and at the end, even after an error.

    Raises:
        OSError: Landing can't store the attempts.
    """
    log, is_over = AnswerLog(landing, zone, fetcher_id), asyncio.Event()
    flusher = asyncio.create_task(_flush_regularly(log, is_over))
    try:
        yield log
    finally:
        # Not cancelled, so that a file that is being written is finished.
        is_over.set()
        await flusher
        await log.flush()


async def _flush_regularly(log: AnswerLog, is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), FLUSH_INTERVAL_S)
        await log.flush()


def _build_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, ANSWER_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ANSWER_SCHEMA)
