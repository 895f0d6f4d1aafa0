"""The meaning of answers with any content, and the removal of credentials from their reasons."""

import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.verbex.answer import (
    Answer,
    ApiUnavailableError,
    NotAuthorizedError,
    RequestRefusedError,
    VerbexError,
    read_answer,
    read_call,
    read_pca,
)
from connector.verbex.pace import backoff_s, retry_after_s

NOW = datetime(2025, 11, 10, 1, 2, 3, tzinfo=UTC)
HARMLESS = st.text().map("{}x".format)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(HARMLESS, inner),
    max_leaves=20,
)


def read(value: object, status: int = 200) -> Answer:
    return read_answer("GET /x", status, json.dumps(value).encode())


@given(status=st.integers(200, 599), body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_an_answer_or_a_named_error(status: int, body: bytes) -> None:
    """No status and no bytes give anything else, and a body is returned as it was received."""
    try:
        answer = read_answer("GET /x", status, body)
        assert read_pca(answer).body in (None, body)
        assert read_call("GET /x", answer).body in (None, body)
    except VerbexError as error:
        assert str(error).startswith("GET /x got")  # noqa: PT017 - an answer is right too


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, NotAuthorizedError),
        (403, NotAuthorizedError),
        (302, RequestRefusedError),
        (400, RequestRefusedError),
        (422, RequestRefusedError),
        (408, ApiUnavailableError),
        (429, ApiUnavailableError),
        (500, ApiUnavailableError),
        (503, ApiUnavailableError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"detail":"no"}', b'"no"'])
def test_a_status_means_the_same_with_any_body(status: int, expected: type[VerbexError], body: bytes) -> None:
    """A proxy's page with an error status counts as that status, and the error reports the status."""
    with pytest.raises(expected) as raised:
        read_answer("GET /x", status, body)
    assert raised.value.http_status == status
    assert str(status) in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html></html>", b'{"status":200,"data":{"it', b"\xff\xfe", b"[" * 100_000, b'{"error":"boom"}'],
)
def test_a_200_without_an_answer_is_a_fault(body: bytes) -> None:
    """HTML, truncated JSON, invalid UTF-8, deep nesting and a bare error all mean: ask again later."""
    with pytest.raises(ApiUnavailableError):
        read_answer("GET /x", 200, body)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (401, NotAuthorizedError),
        (422, RequestRefusedError),
        (429, ApiUnavailableError),
        (500, ApiUnavailableError),
    ],
)
def test_an_error_inside_a_200_counts_as_that_error(reported: int, expected: type[VerbexError]) -> None:
    """`{"status": 500, ...}` with HTTP 200 is a 500."""
    with pytest.raises(expected):
        read({"status": reported, "message": "no", "data": None})


@pytest.mark.parametrize(
    "value",
    [
        {"status": 200, "data": {"call_id": "c", "items": []}},
        {"call_id": "c", "items": [{"name": "x", "result": None}], "new": 1},
        {"items": [], "available": True},
    ],
)
def test_a_pca_may_be_wrapped_or_bare(value: object) -> None:
    """Both shapes are answers. Unknown fields are kept, and missing ones are accepted."""
    assert read_pca(read(value)).value == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"available": False, "message": "later"}, "later"),
        ({"status": 200, "data": {"available": False, "message": "later"}}, "later"),
        ({"status": 200, "data": None, "message": "soon"}, "soon"),
        ({"status": 404, "message": "none"}, "none"),
        ({"items": [], "available": False}, "the answer holds no items"),
        ({}, "the answer holds no items"),
        ([], "the answer holds no items"),
    ],
)
def test_a_pca_may_not_be_there_yet(value: object, reason: str) -> None:
    """`available: false`, no data and no items mean: nothing yet, with the API's own reason."""
    answer = read_pca(read(value))
    assert (answer.body, answer.reason) == (None, reason)


@pytest.mark.parametrize("escape", [r"\ud83d", r"\uDE00", r"\ud83d\ud83d"])
def test_half_an_emoji_costs_no_answer(escape: str) -> None:
    """An emoji that a model cut in half becomes a question mark, and the rest stays."""
    answer = read_answer("GET /x", 200, f'{{"items":[{{"result":"so 🍣{escape}!"}}]}}'.encode())
    assert answer.value["items"][0]["result"].replace("?", "") == "so 🍣!"


def test_a_404_means_not_there_yet_unless_a_proxy_sends_it() -> None:
    """A 404 in JSON is from the API. Any other page may be from a wrong address and is a fault."""
    assert read({"detail": "unknown"}, 404).body is None
    with pytest.raises(ApiUnavailableError, match="HTML"):
        read_answer("GET /x", 404, b"<html>not found</html>")


@pytest.mark.parametrize(
    "value",
    [
        [], "text", 3, None, {}, {"data": {}}, {"message": "no upstream"}, {"detail": []}, {"code": 500},
        {"status": "error"}, {"success": False}, {"data": {"error": "no upstream"}},
    ],
)  # fmt: skip
def test_json_that_is_not_a_call_is_a_fault(value: object) -> None:
    """A call has at least one field of a call. Otherwise an error in a 200 would be stored as a call."""
    with pytest.raises(ApiUnavailableError):
        read_call("GET /x", read(value))


@pytest.mark.parametrize("value", [{"_id": "x"}, {"data": {"messages": []}}, {"call_type": "new", "more": 1}])
def test_a_call_may_lack_nearly_every_field(value: object) -> None:
    """It is accepted wrapped or bare, and with unknown fields."""
    assert read_call("GET /x", read(value)).body is not None


@pytest.mark.parametrize(
    "value", [{"available": False}, {"data": {"available": False, "message": "not yet"}}]
)
def test_a_call_may_not_be_there_yet(value: object) -> None:
    """This is no fault, as for an analysis: there is no body, and a reason."""
    answer = read_call("GET /x", read(value))
    assert answer.body is None
    assert answer.reason


def test_a_refused_key_names_the_setting_and_not_the_reply() -> None:
    """The message names VERBEX_API_KEY. It does not quote the API, whose text could hold the key."""
    with pytest.raises(NotAuthorizedError, match="VERBEX_API_KEY") as raised:
        read({"detail": "bad key abc123"}, 401)
    assert "abc123" not in str(raised.value)


@pytest.mark.parametrize("detail", [{"access_token": "hunter2"}, '{"access_token": "hunter2"}'])
@pytest.mark.parametrize("status", [404, 422, 500])
def test_a_reason_holds_no_credential(detail: object, status: int) -> None:
    """The API's reason for an error is stored too, so it is cleaned like an answer."""
    try:
        reason = read({"detail": detail, "n": 1}, status).reason
    except VerbexError as error:
        reason = str(error)
    assert reason is not None
    assert "hunter2" not in reason


def test_a_number_that_is_too_large_is_no_answer() -> None:
    """In a reason, or in place of an analysis, it affects only its own call."""
    with pytest.raises(ApiUnavailableError, match="can't be read"):
        read_answer("GET /x", 500, b'{"detail":1e999999999999}')
    assert read_pca(read_answer("GET /x", 200, b'{"data":[1e999999999999]}')).body is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", 0), (" 120 ", 120), (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("", None), ("soon", None), ("-1", None), ("²", None), ("1e3", None), ("1.2.3", None),
        ("1.5", 1.5), ("2.0", 2), ("0.503", 0.503), (".5", 0.5), ("3,5", 5), ("+7", 7), ("30s", 30),
        ("60,60", 60.6), ("5, 10", 10), ("30, 5;x", 30), ("1,000", 1000), ('"120"', 120), ("60; a=b", 60),
        ("2 minutes", 120), ("1m", 60), ("1h", 3600), ("1500ms", 1.5), ("250 milliseconds", 0.25),
        ((NOW + timedelta(seconds=90)).isoformat(), 90),
        ("9" * 400, 86_400),
        ("Wed, 21 Oct 2035 07:28:00 +99999999999999", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_as_a_date(header: str, expected: float | None) -> None:
    """Both forms of RFC 9110 are read, and what others send in practice. Anything else is ignored."""
    assert retry_after_s(header, NOW) == expected


@given(st.text())
def test_no_retry_after_can_raise(header: str) -> None:
    """A header comes from outside, so it can hold any text."""
    retry_after_s(header, NOW)


@given(attempts=st.integers(1, 10_000), seed=st.integers())
def test_backoff_doubles_up_to_its_limit(attempts: int, seed: int) -> None:
    """It stays between half and all of the doubled wait, and never above the longest."""
    doubled = min(3600.0, 10 * 2.0 ** min(attempts - 1, 100))
    assert doubled / 2 <= backoff_s(attempts, random.Random(seed), first_s=10, longest_s=3600) <= doubled
