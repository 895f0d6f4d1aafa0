"""The envelope of a raw event: the parts of a body that the receiver must know, or why it is not an event.

Reading `traceId` and `eventName`, and naming what is wrong, belong here. The meaning of an event belongs in
SQL, so unknown fields and unknown event types are accepted.

Source: the "Webhook Data Format" and "Field Descriptions" of Verbex's webhook page.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Any, NamedTuple

import msgspec

from connector.verbex.json_text import as_text, keep_first

MAX_DEPTH = 100
"""The limit on nesting in a body. It is fixed, so that it does not depend on the interpreter's own limit."""

_YEAR_10000_S = 253_402_300_800

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=_YEAR_10000_S)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, lt=_YEAR_10000_S * 1000)]


class Envelope(NamedTuple):
    """The receiver's view of a body. `problem` is None for an event, else a sentence that says why not."""

    trace_id: str | None
    event_name: str | None
    problem: str | None


class _Payload(msgspec.Struct, gc=False):
    call_id: str | None = None
    agent_id: str | None = None
    status: str | None = None
    reason: str | None = None
    timestamp: _Milliseconds | None = None


class _Event(msgspec.Struct, gc=False):
    traceId: _Text  # noqa: N815 - the sender's name
    eventName: _Text  # noqa: N815
    timestamp: _Seconds
    organizationId: str | None = None  # noqa: N815
    payload: _Payload | None = None


class _Names(msgspec.Struct):
    traceId: Any = None  # noqa: N815
    eventName: Any = None  # noqa: N815


_decode_event: Callable[[bytes], _Event] = msgspec.json.Decoder(_Event).decode
_decode_names: Callable[[bytes], _Names] = msgspec.json.Decoder(_Names).decode


def read_envelope(body: bytes) -> Envelope:
    """Read a body as a Verbex event. This never raises, for any bytes."""
    try:
        body.decode()  # msgspec does not check the text of unknown fields
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            _refuse_depth(body)
        body = as_text(body)
        event = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _explain(body, error)
    return Envelope(event.traceId, event.eventName, None)


def _decode(body: bytes) -> _Event:
    """Decode an event. The first of each repeated name counts: DuckDB reads the first, msgspec the last."""
    try:
        event = _decode_event(body)
    except msgspec.ValidationError:
        return _decode_event(_keep_first(body))
    has_second_timestamp = event.payload is not None and event.payload.timestamp is not None
    return _decode_event(_keep_first(body)) if _may_repeat(body, 1 + has_second_timestamp) else event


def _may_repeat(body: bytes, timestamps: int) -> bool:
    """Return whether a name that we read may be there twice. Only its bytes are counted, which is fast."""
    return (
        body.count(b'"timestamp"') > timestamps
        or body.count(b'"traceId"') > 1
        or body.count(b'"eventName"') > 1
        or body.count(b'"payload"') > 1
        or b"\\u00" in body
    )


def _keep_first(body: bytes) -> bytes:
    try:
        return keep_first(body)
    except (ValueError, RecursionError):
        return body  # decoding it says what is wrong


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _refuse_depth(body: bytes) -> None:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    if max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0) > MAX_DEPTH:
        raise msgspec.DecodeError(f"it nests deeper than {MAX_DEPTH} levels")


def _explain(body: bytes, error: Exception) -> Envelope:
    if body.startswith(b"\x1f\x8b"):
        return Envelope(None, None, "The body is compressed by gzip; it must be sent as plain JSON.")
    if isinstance(error, UnicodeDecodeError):
        return Envelope(None, None, f"The body is not UTF-8 text (byte {error.start}).")
    if not isinstance(error, msgspec.ValidationError):
        what = "it is empty" if not body.strip() else str(error)
        return Envelope(None, None, f"The body is not JSON that can be read: {what}.")
    names = _read_names(body)
    problem = f"The body is JSON but not a Verbex event: {error}."
    return Envelope(_text_or_none(names.traceId), _text_or_none(names.eventName), problem)


def _read_names(body: bytes) -> _Names:
    try:
        return _decode_names(body)
    except msgspec.MsgspecError:
        return _Names()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
