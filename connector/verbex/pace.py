"""The timing of requests: a rate limit, waits that the API asks for, and backoff with jitter.

Only time belongs here. See `connector.verbex.client` for the requests, and `connector.verbex.answer` for
faults.
"""

import asyncio
import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from multidict import MultiMapping

LONGEST_WAIT_S = 86_400.0
"""The limit for a `Retry-After`. A longer one is probably a mistake, and one request a day does no harm."""

LEAST_JITTER = 0.5
"""The least part of a backoff that is waited."""

_WAIT = re.compile(
    r"\+?(\d+\.?\d*|\.\d+)\s*(?:(ms|milli\w*)|(m|mins?|minutes?)|(h|hours?)|s|secs?|seconds?)?",
    re.ASCII | re.IGNORECASE,
)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+", re.ASCII)


class Pace:
    """Evenly spaced turns, at most `rate_per_s` of them per second; infinity for no limit."""

    def __init__(self, rate_per_s: float) -> None:
        self._interval_s = 1 / rate_per_s
        self._next_s = 0.0
        self._held_until_s = 0.0

    async def take_turn(self) -> None:
        """Wait until the next request may be sent."""
        loop = asyncio.get_running_loop()
        while True:
            turn_s = max(loop.time(), self._next_s)
            self._next_s = turn_s + self._interval_s
            if turn_s > loop.time():
                await asyncio.sleep(turn_s - loop.time())
            if self._held_until_s <= loop.time():
                return
            # A hold began during the wait for this turn: queue again behind it, at the same rate.
            self._next_s = max(self._next_s, self._held_until_s)

    async def wait_out_hold(self) -> None:
        """Wait until no hold is left."""
        await asyncio.sleep(max(0.0, self._held_until_s - asyncio.get_running_loop().time()))

    def hold(self, seconds: float) -> None:
        """Give no turns for this many seconds."""
        self._held_until_s = max(self._held_until_s, asyncio.get_running_loop().time() + seconds)
        self._next_s = max(self._next_s, self._held_until_s)


def backoff_s(attempts: int, rng: random.Random, *, first_s: float, longest_s: float) -> float:
    """Return the wait after `attempts` (1 or more) failed tries. It doubles each time, with random jitter."""
    doubled = first_s * 2.0 ** min(attempts - 1, 32)
    return min(longest_s, doubled) * rng.uniform(LEAST_JITTER, 1.0)


def longest_wait_s(headers: MultiMapping[str], now: datetime) -> float | None:
    """Return the longest wait that the headers of an answer ask for, or None if they ask for none.

    A date counts from the answer's own `Date`, because our clock (`now`, UTC) may differ from the API's.
    """
    sent_at = _date_of(headers.get("Date", "")) or now
    waits = [retry_after_s(header, sent_at) for header in headers.getall("Retry-After", [])]
    return max((wait for wait in waits if wait is not None), default=None)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for, in seconds or as a date, but at most a day.

    RFC 9110 has whole seconds. Others also send fractions, a unit, or a date as in ISO 8601, and proxies make
    one header of two. What could mean several waits is the longest of them. Return None if the header is not
    valid.
    """
    text = header.partition(";")[0].strip().strip('"')
    parts = [text, text.replace(",", "."), *text.split(",")]
    if _THOUSANDS.fullmatch(text):
        parts.append(text.replace(",", ""))
    waits = [wait_s for wait_s in map(_seconds_of, parts) if wait_s is not None]
    if not waits and (moment := _date_of(text)) is not None:
        waits = [max(0.0, (moment - now).total_seconds())]
    return min(max(waits), LONGEST_WAIT_S) if waits else None


def _seconds_of(text: str) -> float | None:
    found = _WAIT.fullmatch(text.strip())
    if found is None:
        return None
    number, is_ms, is_minutes, is_hours = found.groups()
    return float(number) * (0.001 if is_ms else 60 if is_minutes else 3600 if is_hours else 1)


def _date_of(header: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(header.strip())
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
