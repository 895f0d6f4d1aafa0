"""The reader of today: it replays the quarantine, and a change of its code is noticed."""

import linecache
import types
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec.structs import replace
from support.receiver import make_body, make_delivery

from connector.journal.delivery import Group, to_batch
from connector.landing.zones import EVENT_SCHEMA
from connector.verbex import envelope
from connector.verbex.envelope import read_envelope
from pipelines.warehouse import reader
from pipelines.warehouse.reader import reader_digest, reread


def test_replaying_the_quarantine_turns_rows_that_can_be_read_now_into_events() -> None:
    """A readable row gets its names, a bad row keeps its problem, and other rows do not change."""
    good, bad = make_body("readable"), b"no event"
    stale = [
        replace(make_delivery(good, trace_id=None), event_name=None, problem="An older reader said so."),
        replace(make_delivery(bad, trace_id=None), event_name=None, problem="An older reader said so."),
        make_delivery(good, trace_id="as it was"),
    ]
    table = pa.Table.from_batches([to_batch("r", [Group(0, stale)])])
    again = reread(table)
    assert again.schema == EVENT_SCHEMA
    assert again["trace_id"].to_pylist() == ["readable", None, "as it was"]
    assert again["event_name"].to_pylist() == ["CallHandler.CallStarted", None, "CallHandler.CallStarted"]
    assert again["problem"].to_pylist() == [None, read_envelope(bad).problem, None]
    assert again.drop_columns(["trace_id", "event_name", "problem"]) == table.drop_columns(
        ["trace_id", "event_name", "problem"]
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_replaying_nothing_changes_nothing(rows: int) -> None:
    """An empty table and a table without problems are returned unchanged."""
    batches = [to_batch("r", [Group(0, [make_delivery()] * rows)])] if rows else []
    table = pa.Table.from_batches(batches, EVENT_SCHEMA)
    assert reread(table) == table


@pytest.mark.parametrize(
    ("before", "after", "is_other_reader"),
    [
        ("MAX_DEPTH = 100\n", "MAX_DEPTH = 101\n", True),
        ('"""Read a body', '"""Understand a body', False),
        ("MAX_DEPTH = 100\n", "# as deep as this\n\nMAX_DEPTH = 100\n", False),
    ],
)
def test_only_a_change_of_code_makes_another_reader(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: str,
    after: str,
    is_other_reader: bool,
) -> None:
    """Reworded comments and docstrings must not rebuild the tables of a year."""
    source = Path(envelope.__file__).read_text(encoding="utf-8")
    assert before in source
    changed = types.ModuleType("changed")
    changed.__file__ = str(tmp_path / "changed.py")
    Path(changed.__file__).write_text(source.replace(before, after), encoding="utf-8")
    linecache.checkcache()
    digest = reader_digest()
    reader_digest.cache_clear()
    monkeypatch.setattr(reader, "envelope", changed)
    assert (reader_digest() != digest) is is_other_reader
    reader_digest.cache_clear()
