"""When to send the next request: a rate that is kept, waits that are obeyed, backoff with jitter.

Only time belongs here. What is requested, and what counts as a fault, is `connector.verbex.client`'s.
"""

import asyncio
import random
from datetime import datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 86_400.0
"""A `Retry-After` of more is a mistake somewhere: after a day it does no harm to ask once."""


class Pace:
    """Hands out turns evenly, at most `rate_per_s` of them a second; infinity for no limit."""

    def __init__(self, rate_per_s: float) -> None:
        self._interval_s = 1 / rate_per_s
        self._next_s = 0.0
        self._held_until_s = 0.0

    async def take_turn(self) -> None:
        """Return when the next request may be sent."""
        loop = asyncio.get_running_loop()
        while True:
            turn_s = max(loop.time(), self._next_s)
            self._next_s = turn_s + self._interval_s
            if turn_s > loop.time():
                await asyncio.sleep(turn_s - loop.time())
            if self._held_until_s <= loop.time():
                return
            # A hold began while this turn was waited for: queue again behind it, at the same rate.
            self._next_s = max(self._next_s, self._held_until_s)

    async def wait_out_hold(self) -> None:
        """Return when no hold is left."""
        await asyncio.sleep(max(0.0, self._held_until_s - asyncio.get_running_loop().time()))

    def hold(self, seconds: float) -> None:
        """Give no turn to anybody for so many seconds."""
        self._held_until_s = max(self._held_until_s, asyncio.get_running_loop().time() + seconds)
        self._next_s = max(self._next_s, self._held_until_s)


def backoff_s(attempts: int, rng: random.Random, *, first_s: float, longest_s: float) -> float:
    """How long to wait after `attempts` (1 or more) tries in vain: doubling, its upper half by chance."""
    doubled = first_s * 2.0 ** min(attempts - 1, 32)
    return min(longest_s, doubled) * rng.uniform(0.5, 1.0)


def retry_after_s(header: str, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, given in seconds or as a date, but no more than a day.

    None if it says nothing.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    return min(max(0.0, (aware - now).total_seconds()), LONGEST_WAIT_S)
