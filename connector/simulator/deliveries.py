"""The deliveries of events to a receiver: mostly once and in order, sometimes twice, late or too early.

The list of deliveries as data belongs here. See `connector.simulator.sender` for sending them over a socket.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from connector.simulator.events import Event

_LATE_SHARE = 0.1
"""The share of the disordered deliveries that are hours late, not minutes."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One delivery of an event. `offset_s` is the time of sending, in seconds after the world's start."""

    offset_s: float
    event: Event


def plan_deliveries(
    rng: random.Random,
    events: Iterable[Event],
    *,
    start_us: int,
    duplicates: float,
    disorder: float,
    losses: float,
) -> list[Dispatch]:
    """Return all deliveries in the order of sending.

    Args:
        rng: The source of randomness.
        events: The events to deliver.
        start_us: The world's start, UNIX microseconds.
        duplicates: The share of events that are delivered a second time, with the same bytes.
        disorder: The share of deliveries that are delayed, so that others overtake them.
        losses: The share of events that are never delivered.
    """
    planned = []
    for event in events:
        copies = 2 if rng.random() < duplicates else 1
        if losses and rng.random() < losses:
            continue
        for copy in range(copies):
            delay_s = rng.uniform(0.05, 0.3) + copy * rng.uniform(0.1, 300)
            if rng.random() < disorder:
                delay_s += _hold_up_s(rng)
            planned.append(Dispatch((event.at_us - start_us) / 1e6 + delay_s, event))
    return sorted(planned, key=lambda delivery: (delivery.offset_s, delivery.event.trace_id))


def _hold_up_s(rng: random.Random) -> float:
    return rng.uniform(3600, 7200) if rng.random() < _LATE_SHARE else rng.uniform(1, 600)
