"""Compares the published tables with what the oracle expects of the landed files."""

from typing import Any

from connector.landing.files import Landing
from connector.landing.zones import EVENT_SCHEMA, EVENTS
from support.data_folder import DataFolder
from support.oracle import Received, expected_calls, expected_events


def landed_deliveries(landing: Landing, paths: set[str] | None = None) -> list[Received]:
    """Read the deliveries in landing, or in some of its files."""
    files = [file for file in landing.list_files(EVENTS) if paths is None or file.path in paths]
    rows: list[dict[str, Any]] = [
        row for file in files for row in landing.read(file, EVENT_SCHEMA).to_pylist() if row["trace_id"]
    ]
    return [Received(round(row["received_at"].timestamp() * 1_000_000), row["body"]) for row in rows]


def assert_right(folder: DataFolder, deliveries: list[Received]) -> None:
    """Check that events and calls are those that the oracle expects, which knows nothing of analyses."""
    events = expected_events(deliveries)
    assert {event["trace_id"]: event for event in folder.records("from events")} == events
    found = folder.records("from calls anti join ops.pca_attempts using (call_id)")
    expected = expected_calls(events.values())
    assert {call["call_id"] for call in found} <= expected.keys()
    assert folder.rows("select count(*) from calls") == [(len(expected),)]
    for call in found:
        assert call == expected[call["call_id"]]


def assert_published_whole(folder: DataFolder) -> set[str]:
    """Check that the published tables hold exactly the files in their ledger, and return those files."""
    if not folder.warehouse.published.exists():
        return set()
    paths = {path for (path,) in folder.rows("select path from ops.loads where model = 'events'")}
    assert_right(folder, landed_deliveries(folder.landing, paths))
    return paths
