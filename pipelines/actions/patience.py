"""How long an action waits after an attempt that did not get through, and when it is given up.

Only this belongs here. What counts as not getting through does not: see the senders.
"""

import random
from datetime import timedelta

MOST_ATTEMPTS = 33
"""After so many the pauses, even the shortest ones, add up to a day. It needs no clock."""
_FIRST_S = 5.0
_LONGEST_S = 3600.0
_JITTER = 0.2
_LONGEST_ASKED_S = 86_400.0


def pause_after(attempts: int, rng: random.Random, asked_s: float | None = None) -> timedelta:
    """Return the pause after the attempt of this number, from 1: twice as long each time, up to an hour.

    Args:
        attempts: The number of attempts so far.
        rng: Spreads the pauses, so that what failed together does not come back together.
        asked_s: How long the other side asks us to wait [s]; at most a day of it counts.
    """
    pause_s = min(_FIRST_S * 2.0 ** (attempts - 1), _LONGEST_S) * rng.uniform(1, 1 + _JITTER)
    return timedelta(seconds=max(pause_s, min(asked_s or 0.0, _LONGEST_ASKED_S)))
