"""The content that tables must have, computed in plain Python from the deliveries alone.

It is written from the data contract and not from the SQL, so that the two can disagree.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from connector.verbex.envelope import read_envelope

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STARTED, ENDED = "CallHandler.CallStarted", "CallHandler.CallEnded"
TRANSFERRED, ANALYSED = "CallHandler.CallTransferred", "callAnalysis.pcaCompleted"


@dataclass(frozen=True)
class Received:
    """One delivery: its time of receipt, in UNIX microseconds, and its bytes."""

    at_us: int
    body: bytes


def from_us(at_us: int) -> datetime:
    """Return a UTC time."""
    return EPOCH + timedelta(microseconds=at_us)


def expected_events(deliveries: Iterable[Received]) -> dict[str, dict[str, Any]]:
    """Return one event for each traceId, as first received. If times are equal, the bytes decide."""
    by_trace: dict[str, list[Received]] = {}
    for delivery in deliveries:
        envelope = read_envelope(delivery.body)
        if envelope.problem is None and envelope.trace_id is not None:
            by_trace.setdefault(envelope.trace_id, []).append(delivery)
    return {trace_id: _event(trace_id, copies) for trace_id, copies in by_trace.items()}


def expected_calls(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return one call for each call_id that an event names, if nothing was fetched."""
    by_call: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["call_id"] is not None:
            by_call.setdefault(event["call_id"], []).append(event)
    return {call_id: _call(call_id, grouped) for call_id, grouped in by_call.items()}


def _event(trace_id: str, copies: Sequence[Received]) -> dict[str, Any]:
    first = min(copies, key=lambda copy: (copy.at_us, copy.body))
    body = json.loads(first.body, parse_float=Decimal)
    payload = body.get("payload") or {}
    announced_ms = payload.get("timestamp")
    return {
        "trace_id": trace_id,
        "event_name": body["eventName"],
        "organization_id": body.get("organizationId"),
        "call_id": payload.get("call_id"),
        "agent_id": payload.get("agent_id"),
        "status": payload.get("status"),
        "reason": payload.get("reason"),
        "occurred_at": from_us(_floor(Decimal(body["timestamp"]) * 1_000_000)),
        "announced_at": None if announced_ms is None else from_us(_floor(Decimal(announced_ms) * 1000)),
        "received_at": from_us(first.at_us),
        "deliveries": len(copies),
        "verified_by": "unsigned",
        "body": first.body.decode(),
    }


def _call(call_id: str, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(events, key=lambda event: (event["occurred_at"], event["trace_id"]))
    starts, ends, transfers, analyses = (
        [event for event in ordered if event["event_name"] == name]
        for name in (STARTED, ENDED, TRANSFERRED, ANALYSED)
    )
    started_at = starts[0]["occurred_at"] if starts else None
    ended_at = ends[-1]["occurred_at"] if ends else None
    analysed_at = analyses[-1]["occurred_at"] if analyses else None
    pca_status = _pca_status(bool(ends), analyses)
    return {
        "call_id": call_id,
        "organization_id": _first(ordered, "organization_id"),
        "agent_id": _first(ordered, "agent_id"),
        "status": "completed" if ends or analyses else "in_progress",
        "pca_status": pca_status,
        "day": (started_at or ordered[0]["occurred_at"]).date(),
        "hour": (started_at or ordered[0]["occurred_at"]).hour,
        "started_at": started_at,
        "started_source": "webhook" if starts else None,
        "ended_at": ended_at,
        "ended_source": "webhook" if ends else None,
        "end_status": _newest(ends, "status"),
        "duration_s": _seconds_between(started_at, ended_at),
        "transferred_at": transfers[-1]["occurred_at"] if transfers else None,
        "transfer_to": _newest_destination(transfers),
        "pca_completed_at": analysed_at,
        "pca_lag_s": _seconds_between(ended_at, analysed_at),
        "pca_failure_reason": _newest(analyses, "reason") if pca_status == "failed" else None,
        "first_event_at": ordered[0]["occurred_at"],
        "last_event_at": ordered[-1]["occurred_at"],
        "event_count": len(ordered),
        "updated_at": max(event["received_at"] for event in ordered),
    }


def _pca_status(has_ended: bool, analyses: Sequence[dict[str, Any]]) -> str:
    if any(event["status"] == "success" for event in analyses):
        return "ready"
    if analyses:
        return "failed"
    return "awaiting" if has_ended else "none"


def _newest_destination(transfers: Sequence[dict[str, Any]]) -> str | None:
    named = [json.loads(event["body"])["payload"].get("transfer_to") for event in transfers]
    return next((destination for destination in reversed(named) if destination is not None), None)


def _newest(events: Sequence[dict[str, Any]], name: str) -> str | None:
    return next((event[name] for event in reversed(events) if event[name] is not None), None)


def _first(events: Sequence[dict[str, Any]], name: str) -> str | None:
    return next((event[name] for event in events if event[name] is not None), None)


def _seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start) / timedelta(microseconds=1) / 1e6


def _floor(number: Decimal) -> int:
    return int(number.quantize(Decimal(1), ROUND_FLOOR))
