"""The envelope reader: it names what is wrong, returns what it can read, and never raises."""

import json

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.receiver import SEED_BODIES, make_body

from connector.verbex.envelope import MAX_DEPTH, read_envelope
from connector.verbex.json_text import keep_first, replace_halves

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
members = ["traceId", "eventName", "timestamp", "organizationId", "payload", "unknown"]


@pytest.mark.parametrize("body", SEED_BODIES.values(), ids=SEED_BODIES)
def test_the_documented_events_are_read_verbatim(body: bytes) -> None:
    """The bodies are Verbex's own examples, byte for byte."""
    event = json.loads(body)
    assert read_envelope(body) == (event["traceId"], event["eventName"], None)


@pytest.mark.parametrize(
    "body",
    [
        make_body(eventName="billing.InvoiceIssued"),
        make_body(unknown={"deep": [1, 2, {"a": None}]}),
        make_body(payload=None),
        make_body(organizationId=None),
        make_body(payload={"call_id": None, "timestamp": None, "transfer_to": "+81312345678"}),
        make_body(timestamp=1762670195),
        make_body(payload={"timestamp": 1762153092420.5}),
        make_body("トレース"),
        b" \r\n\t" + make_body() + b"\n",
        make_body(huge=10**400),
        make_body(brackets="[" * 500),
    ],
)
def test_unknown_types_and_fields_are_no_problem(body: bytes) -> None:
    """New event types, new fields, nulls and missing optional fields are all accepted as events."""
    assert read_envelope(body).problem is None


def test_the_names_are_read_even_if_the_rest_is_wrong() -> None:
    """A wrong timestamp does not hide the trace id and the event's name."""
    assert read_envelope(make_body("a", timestamp="now"))[:2] == ("a", "CallHandler.CallStarted")


@given(
    body=st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_at_all_are_read_without_an_error(body: bytes) -> None:
    """The result for any bytes is an envelope."""
    read_envelope(body)


@given(changes=st.dictionaries(st.sampled_from(members), json_values, min_size=1))
def test_every_event_can_be_parsed_by_the_warehouse(changes: dict[str, object]) -> None:
    """The reader accepts no body that DuckDB rejects later."""
    body = make_body(**changes)  # type: ignore[arg-type]
    if read_envelope(body).problem is None:
        query = "select json_valid(decode(?)), decode(?)::json ->> '$.traceId' is not null"
        assert duckdb.execute(query, [body, body]).fetchone() == (True, True)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_limited_by_a_number_and_not_by_the_interpreter(opening: str) -> None:
    """One level above the limit is a problem, and so are a hundred thousand levels."""
    closing = "]" if opening == "[" else "}"

    def nested(depth: int) -> bytes:
        return make_body()[:-1] + f', "x": {opening * depth}1{closing * depth}}}'.encode()

    assert read_envelope(nested(MAX_DEPTH - 1)).problem is None
    for depth in (MAX_DEPTH, 100_000):
        assert "nests deeper" in (read_envelope(nested(depth)).problem or "")


def test_problems_quote_nothing_of_the_body() -> None:
    """A problem is put into logs and answers, and a body must not be."""
    secret_text = "4111-1111-1111-1111"
    for changes in (
        {"timestamp": secret_text},
        {"payload": secret_text},
        {"payload": {"status": [secret_text]}},
    ):
        problem = read_envelope(make_body(**changes)).problem
        assert problem is not None
        assert secret_text not in problem


def test_the_envelope_survives_every_prefix_of_an_event() -> None:
    """A body that is cut anywhere is a problem, never an error and never an event."""
    body = msgspec.json.encode(json.loads(SEED_BODIES["pca_completed"]))
    assert all(read_envelope(body[:length]).problem for length in range(len(body)))


@pytest.mark.parametrize("half", [r"\ud83d", r"\uDE00", r"\ud83d\ud83d", r"\\\ud83d", r"\uD83Dx\uDE00"])
def test_half_an_emoji_costs_no_event(half: str) -> None:
    """As in an answer, it becomes a question mark for DuckDB, and whole emojis stay."""
    body = make_body()[:-1] + rf', "said": "\ud83c\udf63 {half}!"}}'.encode()
    assert read_envelope(body).problem is None
    query = "select decode(?)::json ->> '$.said'"
    [said] = duckdb.execute(query, [replace_halves(body)]).fetchone() or ()
    assert said.startswith("🍣 ")
    assert "?" in said


REPEATED = [
    (b'{"traceId":"a","traceId":"b","eventName":"E","timestamp":1}', "a"),
    (b'{"traceId":"a","eventName":"E","timestamp":1,"timestamp":1e300}', "a"),
    (rb'{"traceId":"a","tr\u0061ceId":"b","eventName":"E","timestamp":1}', "a"),
    (b'{"traceId":"a","eventName":"E","timestamp":1,"payload":{"call_id":"c","call_id":5}}', "a"),
    (b'{"traceId":"a","eventName":"E","timestamp":1e300,"timestamp":1}', None),
]


@pytest.mark.parametrize(("body", "trace_id"), REPEATED)
def test_of_a_repeated_name_the_first_counts_as_it_does_for_duckdb(body: bytes, trace_id: str | None) -> None:
    """Otherwise the receiver would accept one value, and SQL would read the other."""
    envelope = read_envelope(body)
    assert (envelope.problem is None) == (trace_id is not None)
    [first] = duckdb.execute("select decode(?)::json ->> '$.traceId'", [body]).fetchone() or ()
    assert envelope.trace_id == first


@given(json_values.map(lambda value: json.dumps({"a": value, "b": "\ud83d\ude00"}).encode()))
def test_what_is_read_alike_keeps_its_value(body: bytes) -> None:
    """JSON that repeats no name, and cuts no character, means the same as before."""
    read = json.loads(keep_first(replace_halves(body)))
    assert json.dumps(read, sort_keys=True) == json.dumps(json.loads(body), sort_keys=True)
