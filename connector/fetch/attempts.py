"""Gathers fetched answers and lands them, often enough that a kill loses little and memory stays flat.

Belongs here: the row of an attempt, and when rows become a file. What is fetched is
`connector.fetch.calls`'s.
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
    """One attempt to fetch something of a call; fields as in `ANSWER_SCHEMA`, less those that number it."""

    attempted_at: datetime
    call_id: str
    agent_id: str | None
    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_at: datetime | None = None
    body: bytes | None = None


def new_fetcher_id(now: datetime, rng: random.Random) -> str:
    """An id for one pass of one fetching process; ids sort by time.

    Args:
        now: The time of the start, UTC.
        rng: Keeps two passes apart that start in the same instant.
    """
    return f"{now:%Y%m%dT%H%M%S%f}-{rng.getrandbits(32):08x}"


class AnswerLog:
    """Lands attempts in one zone, in files named `<fetcher_id>-<number>`; use `answer_log`."""

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
        """Take in one attempt; land what has gathered if it is enough.

        Raises:
            OSError: The landing zone can't take it.
        """
        if self._failure is not None:
            raise self._failure
        self._rows.append((self._fetcher_id, self._sequence, *attempt))
        self._sequence += 1
        self._size_bytes += len(attempt.body or b"")
        if len(self._rows) >= FLUSH_ROWS or self._size_bytes >= FLUSH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Land what has gathered; durable when it returns.

        Raises:
            OSError: The landing zone can't take it.
        """
        async with self._lock:
            rows, self._rows, self._size_bytes = self._rows, [], 0
            if not rows:
                return
            self._files += 1
            try:
                # Built here: in the thread it would fight the fetching for Python's lock; writing does not.
                table = _build_table(rows)
                await asyncio.to_thread(self._land, table, f"{self._fetcher_id}-{self._files:06d}")
            except OSError as error:
                self._failure = error
                raise

    def _land(self, table: pa.Table, name: str) -> None:
        self._landing.write(table, zone=self._zone, name=name)


@asynccontextmanager
async def answer_log(landing: Landing, zone: Zone, fetcher_id: str) -> AsyncIterator[AnswerLog]:
    """An `AnswerLog` that also lands every few seconds, and at the end, whatever happened before.

    Raises:
        OSError: The landing zone can't take it.
    """
    log, is_over = AnswerLog(landing, zone, fetcher_id), asyncio.Event()
    flusher = asyncio.create_task(_flush_regularly(log, is_over))
    try:
        yield log
    finally:
        # Never cancelled: a file that is being written is to be finished.
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
