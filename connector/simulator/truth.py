"""The truth about a simulated Verbex, as plain data to compare tables with.

The expected facts belong here. They are taken from the world itself, never from parsing what was sent. The
tests decide how verbex-sync names and shapes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from connector.simulator.calls import Call
from connector.simulator.events import Event, events_of
from connector.simulator.world import World


@dataclass(frozen=True)
class CallTruth:
    """One call. Times are UNIX microseconds, and None if no webhook reported them.

    `started_us`, `ended_us`, `transferred_us` and `pca_completed_us` are the `timestamp`s of bodies, and
    `pca_announced_us` is the newest `payload.timestamp`. `pca_state` is the state that webhooks alone show:
    `none` (not ended), `awaiting`, `ready` or `failed`. `pca_items` are the API's final answer.
    """

    call_id: str
    organization_id: str
    agent_id: str
    course: str
    status: str
    pca_state: str
    started_us: int | None
    ended_us: int | None
    transferred_us: int | None
    transfer_to: str | None
    pca_completed_us: int | None
    pca_announced_us: int | None
    first_event_us: int
    last_event_us: int
    event_count: int
    pca_items: list[dict[str, Any]]
    details: dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """All that happened: exact bodies by `trace_id`, and the calls that they describe, by `call_id`."""

    bodies: dict[str, bytes]
    calls: dict[str, CallTruth]

    @classmethod
    def of(cls, world: World) -> Self:
        """Return the truth about `world`."""
        return cls(
            bodies={event.trace_id: event.body for event in world.events()},
            calls={call.call_id: _truth_of(world, call) for call in world.calls},
        )

    def write(self, path: Path) -> None:
        """Write it as JSON lines, one per body or call. `Truth.read` reads them."""
        with path.open("wb") as sink:
            sink.writelines(msgspec.json.encode(line) + b"\n" for line in self._lines())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        truth = cls({}, {})
        with path.open("rb") as source:
            for line in source:
                row = msgspec.json.decode(line)
                if "body" in row:
                    truth.bodies[row["trace_id"]] = row["body"].encode()
                else:
                    truth.calls[row["call_id"]] = CallTruth(**row)
        return truth

    def _lines(self) -> Iterator[Any]:
        for trace_id, body in self.bodies.items():
            yield {"trace_id": trace_id, "body": body.decode()}
        yield from self.calls.values()


def _truth_of(world: World, call: Call) -> CallTruth:
    events = events_of(call, world.seed)
    times_us = [event.at_us for event in events]
    return CallTruth(
        call_id=call.call_id,
        organization_id=call.organization_id,
        agent_id=call.agent.agent_id,
        course=call.course.value,
        status="in_progress" if call.ended_us is None else "completed",
        pca_state=_pca_state(call),
        started_us=_time_of(events, "CallHandler.CallStarted"),
        ended_us=_time_of(events, "CallHandler.CallEnded"),
        transferred_us=_time_of(events, "CallHandler.CallTransferred"),
        transfer_to=call.transfer_to,
        pca_completed_us=_time_of(events, "callAnalysis.pcaCompleted"),
        pca_announced_us=max((e.announced_us for e in events if e.announced_us is not None), default=None),
        first_event_us=min(times_us),
        last_event_us=max(times_us),
        event_count=len(events),
        pca_items=world.pca_items(call),
        details={key: value for key, value in world.details(call).items() if key != "access_token"},
    )


def _pca_state(call: Call) -> str:
    if call.ended_us is None:
        return "none"
    if not call.is_announced:
        return "awaiting"
    return "ready" if call.has_results else "failed"


def _time_of(events: Iterable[Event], name: str) -> int | None:
    return max((event.at_us for event in events if event.name == name), default=None)
