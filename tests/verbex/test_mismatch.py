"""The headers of a delivery against its body."""

import pytest

from connector.receiver.headers import keep_headers
from connector.simulator.events import Event
from connector.simulator.world import World
from connector.verbex.envelope import read_envelope
from connector.verbex.mismatch import find_mismatch

BODY = b'{"traceId": "t", "eventName": "CallHandler.CallEnded", "timestamp": 1762736474.552985}'


@pytest.mark.parametrize("event", list(World.build(calls=5).events()), ids=lambda event: event.name)
def test_what_verbex_sends_agrees(event: Event) -> None:
    """Also with a time of sending that is a little later."""
    headers = keep_headers(event.headers())
    assert find_mismatch(headers, event.body, event.trace_id, event.name) is None


@pytest.mark.parametrize(
    ("header", "value", "said"),
    [
        ("x-webhook-event", "CallHandler.CallStarted", "CallHandler.CallEnded"),
        ("x-webhook-event", "callhandler.callended", "CallHandler.CallEnded"),
        ("x-webhook-traceid", "other", "'t'"),
        ("x-webhook-traceid", "t, t", "'t'"),
        ("x-webhook-timestamp", "2025-11-10T10:01:14.552985018Z", "1762736474.552985"),
        ("x-webhook-timestamp", "2025-11-10T01:01:14.552985018+09:00", "1762736474.552985"),
        ("x-webhook-timestamp", "soon", "no time"),
        ("x-webhook-timestamp", "", "no time"),
    ],
)
def test_a_header_that_says_something_else_is_named_with_both_values(
    header: str, value: str, said: str
) -> None:
    """A day in another time zone is another time."""
    mismatch = find_mismatch({header: value}, BODY, "t", "CallHandler.CallEnded")
    assert mismatch is not None
    assert header in mismatch
    assert repr(value) in mismatch
    assert said in mismatch


@pytest.mark.parametrize("headers", [{}, {"x-webhook-timestamp": "2025-11-10T01:01:14.552985018Z"}])
def test_headers_that_are_not_there_disagree_with_nothing(headers: dict[str, str]) -> None:
    """A proxy may leave them out."""
    assert find_mismatch(headers, BODY, "t", "CallHandler.CallEnded") is None


def test_of_a_time_that_is_there_twice_the_first_counts() -> None:
    """As everywhere else."""
    body = BODY.replace(b"}", b', "timestamp": 5}')
    headers = {"x-webhook-timestamp": "2025-11-10T01:01:14Z"}
    assert find_mismatch(headers, body, "t", "CallHandler.CallEnded") is None


@pytest.mark.parametrize("odd", [b"\xef\xbb\xbf{", rb'{"said": "cut \ud83d", ', rb'{"\ude00": 1, '])
@pytest.mark.parametrize(
    ("sent_at", "agrees"), [("2025-11-10T01:01:14Z", True), ("2025-11-11T01:01:14Z", False)]
)
def test_a_body_that_is_odd_but_an_event_is_compared_like_any_other(
    odd: bytes, sent_at: str, *, agrees: bool
) -> None:
    """An error here would keep the whole segment from landing, at each try."""
    body = odd + BODY.removeprefix(b"{")
    assert read_envelope(body).problem is None
    found = find_mismatch({"x-webhook-timestamp": sent_at}, body, "t", "CallHandler.CallEnded")
    assert (found is None) is agrees
