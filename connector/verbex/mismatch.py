"""Whether the headers of a delivery say the same as its body.

The comparison belongs here. Verbex sends the event's name, its trace and its time in both; a difference shows
that something between us changes deliveries, or that Verbex changed what it sends. It refuses nothing.

Source: the example and the list of headers on Verbex's webhook page.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from connector.verbex.json_text import as_text, keep_first

FURTHEST_APART_S = 3600.0
"""How far apart the times may be [s]: the header may have the time of sending, which is later."""


class _Timed(msgspec.Struct, gc=False):
    timestamp: float | None = None


_decode_timed: Callable[[bytes], _Timed] = msgspec.json.Decoder(_Timed).decode


def find_mismatch(
    headers: Mapping[str, str], body: bytes, trace_id: str | None, event_name: str | None
) -> str | None:
    """Return what the headers of an event say otherwise than its body; None if they agree or are not there.

    Args:
        headers: By names in lower case.
        body: As received.
        trace_id: The body's `traceId`.
        event_name: The body's `eventName`.
    """
    for header, said in (("x-webhook-event", event_name), ("x-webhook-traceid", trace_id)):
        value = headers.get(header)
        if value is not None and value != said:
            return f"{header} is {value!r}, but the body says {said!r}"
    sent_at = headers.get("x-webhook-timestamp")
    return None if sent_at is None else _compare_times(sent_at, as_text(body))


def _compare_times(sent_at: str, body: bytes) -> str | None:
    try:
        sent_s = datetime.fromisoformat(sent_at).timestamp()
    except (ValueError, OverflowError, OSError):
        return f"x-webhook-timestamp is {sent_at!r}, which is no time"
    if abs(sent_s - _timestamp(body)) <= FURTHEST_APART_S:
        return None
    occurred_s = _timestamp(keep_first(body))  # of a repeated name, the first counts
    if abs(sent_s - occurred_s) <= FURTHEST_APART_S:
        return None
    return f"x-webhook-timestamp is {sent_at!r}, but the body says {occurred_s} (UNIX seconds)"


def _timestamp(body: bytes) -> float:
    try:
        return _decode_timed(body).timestamp or 0.0
    except msgspec.MsgspecError:
        return 0.0
