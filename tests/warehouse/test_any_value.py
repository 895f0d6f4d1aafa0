"""No value in any field that we read makes a sync, or a later question to Verbex, fail."""

import json
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_folder import NOON, DataFolder, body

from connector.landing.zones import AGENTS, CALLS, EVENT_SCHEMA, EVENTS, LISTED, PCA
from pipelines.enrichment.due import list_due, list_unavailable
from pipelines.enrichment.span import Span

TIMES = (
    "infinity", "-infinity", "epoch", "12026-01-01T00:00:00Z", "0044-03-15 (BC)", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-12:00", "294246-01-01", "2025-11-10T01:00:00", "2025-11-10T01:00:00Z", "",
    "2038-01-19T03:14:08Z", "2025-11-10T01:00:00 Asia/Tokyo", "now",
)  # fmt: skip
NUMBERS = ("NaN", "Infinity", "-inf", "1e999", "9" * 400, "-1", "0", "1.5", "1e-999")
LEAVES = (
    st.sampled_from((*TIMES, *NUMBERS, "\0", "🍣"))
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("data", "items", "name", "content", "x")), inner, max_size=3)
    ),
    max_leaves=6,
)


def shaped(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of these fields, each of any value."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, VALUES))


MESSAGES = st.lists(
    shaped("role", "content") | st.just({"content": f"({'9' * 400}s - 1.2.3s) hi"}), max_size=2
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            (
                "_id", "ai_agent_id", "ai_agent_name", "override_ai_agent_id", "call_status", "call_type",
                "call_start_time", "call_end_time", "call_duration_seconds", "call_finish_reason",
                "recorded_call_audio_url", "metadata", "pia_llm_dynamic_data", "data", "items",
            ),
            VALUES,
        ),
        "messages": MESSAGES | VALUES,
    },
)  # fmt: skip
ITEM = shaped("name", "type", "result", "model", "usage") | st.fixed_dictionaries(
    {"type": st.just("number"), "result": LEAVES, "usage": shaped("prompt_tokens", "total_tokens")}
)
ITEMS = st.fixed_dictionaries({"items": st.lists(ITEM, max_size=3) | VALUES})
PAYLOADS = shaped("agent_id", "status", "reason", "timestamp", "transfer_to")
WINDOW = shaped("since", "until", "agent_ids", "calls", "is_backfill") | st.just(
    {"since": "2025-11-01T00:00:00Z", "until": "2025-11-30T00:00:00Z"}
)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    payloads=st.lists(PAYLOADS, min_size=3, max_size=6),
    stamps=st.lists(st.integers(0, 253_402_300_799) | st.just(2_147_483_648), min_size=3, max_size=6),
    calls=st.lists(CALL, max_size=4),
    analyses=st.lists(ITEMS | ITEMS.map(lambda bare: {"status": 200, "data": bare}), max_size=4),
    windows=st.lists(WINDOW, max_size=2),
)
def test_no_value_makes_a_sync_or_a_question_fail(
    payloads: list[dict[str, Any]],
    stamps: list[int],
    calls: list[dict[str, Any]],
    analyses: list[Any],
    windows: list[Any],
) -> None:
    """Whatever lands, every table is built, twice, and what is due can be read, at any time."""
    with TemporaryDirectory() as path:
        folder = DataFolder(Path(path))
        names = ("CallHandler.CallEnded", "callAnalysis.pcaCompleted", "CallHandler.CallTransferred")
        events = zip(payloads, stamps, names * 2, strict=False)
        folder.land(
            body(f"t{n}", name, f"c{n % 4}", at_s - 1_762_600_000, **payload)
            for n, (payload, at_s, name) in enumerate(events)
        )
        details = [{"call_id": f"c{n}", "body": json.dumps(call).encode()} for n, call in enumerate(calls)]
        found = [{"call_id": f"c{n}", "body": json.dumps(items).encode()} for n, items in enumerate(analyses)]
        folder.land_answers(CALLS, details)
        folder.land_answers(PCA, found)
        folder.land_answers(AGENTS, [{**row, "call_id": ""} for row in found])
        for outcome in ("listed", "backfilled"):
            swept = [{"call_id": "", "outcome": "swept", "body": json.dumps(one).encode()} for one in windows]
            folder.land_answers(LISTED, [*({**row, "outcome": outcome} for row in details), *swept])
            folder.sync()
        for zone in (PCA, CALLS, AGENTS):
            for as_of in (NOON, NOON + timedelta(days=9000)):
                list_due(folder, zone, as_of)
            list_unavailable(folder, zone, Span())
        folder.query("backfilled_windows", as_of=NOON)
        folder.query("newest_sweep")
        folder.rows("from pipeline_status")
        for model in folder.models:
            folder.inspect(model.table)


@pytest.mark.parametrize("written", [time for time in TIMES if "2025" not in time and "2038" not in time])
def test_a_time_that_is_none_costs_that_time_only(tmp_path: Path, written: str) -> None:
    """The rest of the call is there, and the sync after it works too."""
    folder = DataFolder(tmp_path)
    call = {"_id": "c", "call_type": "web_call", "call_start_time": "2025-11-10T01:00:00Z"}
    landed = json.dumps({**call, "call_end_time": written, "call_duration_seconds": "NaN"}).encode()
    folder.land([body("t", "CallHandler.CallEnded", "c", 0)])
    folder.land_answers(CALLS, [{"call_id": "c", "body": landed}])
    folder.land_answers(LISTED, [{"call_id": "c", "outcome": "backfilled", "body": landed}])
    folder.sync()
    expected = None if written != "epoch" else 1970
    [(call_type, ended, duration)] = folder.rows(
        "select call_type, year(ended_at), duration_s from call_details"
    )
    assert (call_type, ended, duration) == ("web_call", expected, None)
    assert folder.rows("select year(ended_at) from ops.listed_calls") == [(expected,)]


def test_odd_json_of_a_webhook_costs_no_sync(tmp_path: Path) -> None:
    """Half an emoji is a question mark, and of a repeated name the first value counts, also in old files.

    A mark of byte order before the body is no part of it.
    """
    folder = DataFolder(tmp_path)
    half = body("half", "CallHandler.CallEnded", "c", 0, reason="cut HERE").replace(b"HERE", rb"\ud83d")
    first = body("first", "CallHandler.CallEnded", "c", 0)[:-1] + b', "timestamp": 5, "eventName": "other"}'
    bad = b'{"traceId":"bad","eventName":"E","timestamp":1e300,"timestamp":1,"payload":{"call_id":"d"}}'
    marked = b"\xef\xbb\xbf" + body("marked", "CallHandler.CallEnded", "c", 0)
    folder.land([half, first, bad, marked], headers={"x-webhook-timestamp": "2025-11-08T11:06:40Z"})
    # as a receiver of an earlier version landed it
    row = {
        "receiver_id": "old", "sequence": 0, "received_at": NOON, "trace_id": "old", "event_name": "E",
        "verified_by": "unsigned", "headers": [], "body": bad.replace(b'"bad"', b'"old"'),
    }  # fmt: skip
    folder.landing.write(pa.Table.from_pylist([row], EVENT_SCHEMA), zone=EVENTS, name="old")
    folder.sync()
    assert folder.rows("select trace_id, reason, occurred_at = received_at from events order by 1") == [
        ("first", None, False),
        ("half", "cut ?", False),
        ("marked", None, False),
        ("old", None, True),
    ]
    assert folder.rows("select trace_id from ops.header_mismatches") == [("bad",)]
    assert folder.rows("select count(*) from quarantine") == [(1,)]
