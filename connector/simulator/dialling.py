"""`POST /v1/calls/dial-outbound-phone-call` of a simulated account, and the calls that come of it.

What a request must hold, and how a dialled call goes on, belongs here. All other calls are in
`connector.simulator.world`. Verbex does not document what it does with a `call_id` that it has seen: this one
assumes the worst and dials again.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from connector.simulator.agents import Agent
from connector.simulator.calls import SECOND_US, Call, Course
from connector.simulator.chance import object_id, rng_for
from connector.simulator.world import World

PATH = "/v1/calls/dial-outbound-phone-call"

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_AS_ASKED = (
    "from_number",
    "to_number",
    "direction",
    "override_ai_agent_id",
    "metadata",
    "pia_llm_dynamic_data",
)


class Dials:
    """The calls that were dialled, in memory, and how often.

    Attributes:
        calls: Every call in its order. Two have the same id if it was asked for twice.
        bodies: The request of each of them, as it came.
        by_number: How often each number was dialled.
        by_call_id: How often a call of each id was dialled.
        on_dial: Called with every call that is dialled.
    """

    def __init__(self, world: World, on_dial: Callable[[Call], None] = lambda _: None) -> None:
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []
        self.by_number: Counter[str] = Counter()
        self.by_call_id: Counter[str] = Counter()
        self.on_dial = on_dial
        self._world = world
        self._asked: dict[int, dict[str, Any]] = {}

    def dial(self, body: bytes, at_us: int) -> Call:
        """Dial what a request asks for, and return the call, which begins at `at_us` (UNIX microseconds).

        Raises:
            ValueError: The request can't be read, or a field is missing or wrong. Nothing is dialled.
        """
        asked = _read(body)
        rng = rng_for(self._world.seed, "dial", len(self.calls))
        ended_us = at_us + int(rng.uniform(20, 90) * SECOND_US)
        call = Call(
            call_id=asked.get("call_id") or object_id(at_us, rng),
            organization_id=self._world.organization_id,
            agent=self._agent_of(asked),
            course=Course.NORMAL,
            started_us=at_us,
            ended_us=ended_us,
            pca_us=ended_us + int(rng.uniform(1, 30) * SECOND_US),
            revised_us=None,
            transfer_to=None,
        )
        self.calls.append(call)
        self.bodies.append(body)
        self._asked[id(call)] = {name: asked[name] for name in _AS_ASKED if name in asked}
        self.by_number[asked["to_number"]] += 1
        self.by_call_id[call.call_id] += 1
        self.on_dial(call)
        return call

    def has(self, call: Call) -> bool:
        """Return whether this call was dialled."""
        return id(call) in self._asked

    def find(self, call_id: str) -> Call | None:
        """Return the first call of this id."""
        return next((call for call in self.calls if call.call_id == call_id), None)

    def details(self, call: Call, now_us: int) -> dict[str, Any]:
        """Return a dialled call as the API shows it at this time (UNIX microseconds)."""
        is_over = call.ended_us is not None and call.ended_us <= now_us
        shown = self._world.details(call if is_over else replace(call, ended_us=None))
        has_begun = call.started_us < now_us
        first = {} if has_begun else {"call_status": "registered", "messages": []}
        return {**shown, **first, "call_type": "phone_call", **self._asked[id(call)]}

    def _agent_of(self, asked: dict[str, Any]) -> Agent:
        wanted = asked.get("override_ai_agent_id")
        if wanted is None:
            return self._world.agents[0]
        if wanted not in self._world.agent_by_id:
            raise ValueError("override_ai_agent_id: there is no such agent")
        return self._world.agent_by_id[wanted]


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"body: {error}") from None
    for name in ("from_number", "to_number"):
        if not _E164.fullmatch(str(asked.get(name))):
            raise ValueError(f"{name} must be E.164")
    if asked.get("direction") != "outbound":
        raise ValueError("direction must be outbound")
    for name, kind in {"call_id": str, "metadata": dict, "pia_llm_dynamic_data": dict}.items():
        if not isinstance(asked.get(name, kind()), kind):
            raise ValueError(f"{name} must be a {kind.__name__}")  # noqa: TRY004 - a 422, not a bug
    return asked
