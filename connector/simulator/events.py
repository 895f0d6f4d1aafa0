"""The webhooks of a simulated account, byte for byte in the shape that Verbex documents.

The events of a call, with their bodies and headers, belong here. See `connector.simulator.deliveries` for
when and how often they are delivered.

Source: the examples of the webhook documentation, for field order, fractional UNIX seconds, and milliseconds
in the PCA event. Bodies are compact JSON.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from connector.simulator.calls import Call, Course
from connector.simulator.chance import rng_for, uuid_from

CALL_STARTED = "CallHandler.CallStarted"
CALL_ENDED = "CallHandler.CallEnded"
CALL_TRANSFERRED = "CallHandler.CallTransferred"
PCA_COMPLETED = "callAnalysis.pcaCompleted"
RECORDING_READY = "CallHandler.RecordingReady"
"""An event type that Verbex does not document. Receivers must store unknown types too."""
QUOTA_REACHED = "Billing.QuotaReached"
"""Another undocumented type. It is about no call."""
USER_AGENT = "ReactorNetty/1.1.13"

_UNKNOWN_FIELD_RATE = 0.05
_UNKNOWN_EVENT_RATE = 0.03


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook. `at_us` is its body's `timestamp` in UNIX microseconds, and `body` is the exact bytes."""

    trace_id: str
    name: str
    call_id: str | None
    at_us: int
    announced_us: int | None
    body: bytes

    def headers(self) -> dict[str, str]:
        """Return the headers of its delivery, without those that authenticate."""
        moment = datetime.fromtimestamp(self.at_us // 1_000_000, UTC)
        # Nanoseconds in nine digits: the time of sending is a little after the time of the event.
        nanoseconds = min(999_999_999, self.at_us % 1_000_000 * 1000 + int(self.trace_id[:4], 16))
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "X-Webhook-Event": self.name,
            "X-Webhook-Traceid": self.trace_id,
            "X-Webhook-Timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z",
        }


def events_of(call: Call, seed: int) -> list[Event]:
    """Return all webhooks about `call`, in the order of their times."""
    rng = rng_for(seed, "events", call.call_id)
    events = []
    if call.course is not Course.START_MISSING:
        events.append(_tell(rng, call, CALL_STARTED, call.started_us))
    if call.transferred_us is not None:
        events.append(_tell(rng, call, CALL_TRANSFERRED, call.transferred_us, _transfer(call)))
    if call.ended_us is not None:
        events.append(_tell(rng, call, CALL_ENDED, call.ended_us))
    if call.ended_us is not None and rng.random() < _UNKNOWN_EVENT_RATE:
        recording = {"recording": {"duration_ms": (call.ended_us - call.started_us) // 1000, "channels": 2}}
        events.append(_tell(rng, call, RECORDING_READY, call.ended_us + 700_000, recording))
    if call.is_announced:
        events += [_announce(rng, call, at_us) for at_us in (call.pca_us, call.revised_us) if at_us]
    return events


def account_events(organization_id: str, at_us: int, seed: int) -> list[Event]:
    """Return the webhooks that are about no call."""
    rng = rng_for(seed, "account", at_us)
    payload = {"status": "success", "quota": {"used": 9000, "limit": 10000}}
    return [_event(rng, organization_id, QUOTA_REACHED, at_us, payload)]


def _tell(rng: random.Random, call: Call, name: str, at_us: int, more: dict[str, Any] | None = None) -> Event:
    payload = {"call_id": call.call_id, "agent_id": call.agent.agent_id, "status": "success"}
    return _event(rng, call.organization_id, name, at_us, {**payload, **(more or {})})


def _announce(rng: random.Random, call: Call, pca_us: int) -> Event:
    is_failed = call.course is Course.PCA_FAILED
    payload = {
        "call_id": call.call_id,
        "agent_id": call.agent.agent_id,
        "status": "failed" if is_failed else "success",
        "reason": "analysis_timeout" if is_failed else "success",
        "timestamp": pca_us // 1000,
    }
    # As in Verbex's own example, the envelope is half a second later than the PCA that it announces.
    return _event(rng, call.organization_id, PCA_COMPLETED, pca_us + 500_426, payload)


def _transfer(call: Call) -> dict[str, Any]:
    return {"reason": "user_request", "transfer_to": call.transfer_to}


def _event(rng: random.Random, organization_id: str, name: str, at_us: int, payload: dict[str, Any]) -> Event:
    trace_id = uuid_from(rng)
    if rng.random() < _UNKNOWN_FIELD_RATE:
        payload = {**payload, "region": "ap-northeast-1", "labels": ["β", None, {"tier": 1.5}]}
    body = {
        "organizationId": organization_id,
        "traceId": trace_id,
        "eventName": name,
        "timestamp": msgspec.Raw(_seconds(rng, at_us)),
        "payload": payload,
    }
    announced_ms = payload.get("timestamp")
    return Event(
        trace_id=trace_id,
        name=name,
        call_id=payload.get("call_id"),
        at_us=at_us,
        announced_us=None if announced_ms is None else announced_ms * 1000,
        body=msgspec.json.encode(body),
    )


def _seconds(rng: random.Random, at_us: int) -> bytes:
    """Return UNIX seconds with six digits after the point or, as Verbex often sends, eight.

    The last two digits are below half a microsecond, so that the truth is one exact microsecond.
    """
    further = str(rng.randint(15, 35)) if rng.random() < 0.5 else ""
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}{further}".rstrip("0").rstrip(".").encode()
