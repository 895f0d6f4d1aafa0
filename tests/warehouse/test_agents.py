"""Agents by name: what they are called now and were before, calls without one, and two with one name."""

import json
from datetime import timedelta
from pathlib import Path

from support.data_folder import NOON, DataFolder, body
from support.oracle import ENDED, STARTED

from connector.landing.zones import CALLS, PCA
from pipelines.reconciliation.rebuild import compare_with_rebuild

ITEMS = {"items": [{"name": "Party Size", "type": "number", "result": "4 people"}]}


def land_call(folder: DataFolder, call_id: str, agent_id: str, name: str, *, hours: int) -> None:
    """Land a call of an agent, its details with the agent's name at that time, and its analysis."""
    at = NOON + timedelta(hours=hours)
    start, end = (
        body(f"{call_id}-{event}", event, call_id, hours * 3600 + place, agent_id=agent_id)
        for place, event in enumerate((STARTED, ENDED))
    )
    folder.land([start, end])
    details = json.dumps({"ai_agent_id": agent_id, "ai_agent_name": name}).encode()
    answer = {"call_id": call_id, "agent_id": agent_id, "attempted_at": at}
    folder.land_answers(CALLS, [{**answer, "body": details}])
    folder.land_answers(PCA, [{**answer, "body": json.dumps(ITEMS).encode()}])


def test_a_renamed_agent_has_its_new_name_everywhere_and_keeps_the_old_one(tmp_path: Path) -> None:
    """Also a call that has just begun shows it, and each load gives what a rebuild gives."""
    folder = DataFolder(tmp_path)
    land_call(folder, "first", "a", "Reservations", hours=0)
    folder.sync()
    land_call(folder, "second", "a", " Table  bookings", hours=1)
    folder.land([body("live", STARTED, "third", 7200, agent_id="a")])
    folder.sync()
    assert folder.rows("select agent_name, earlier_names from agents") == [
        ("Table bookings", ["Reservations"])
    ]
    for table in ("calls_enriched", "agent_daily", "agent_hourly"):
        assert {row["agent_name"] for row in folder.records(f"from {table}")} == {"Table bookings"}
    assert folder.rows("select count(*) from calls_enriched") == [(3,)]
    assert all(each.is_equal for each in compare_with_rebuild(folder))


def test_a_wide_view_has_the_agents_name_and_keeps_it_after_a_rename(tmp_path: Path) -> None:
    """Both names show the same rows, with the number that was written."""
    folder = DataFolder(tmp_path)
    land_call(folder, "first", "a", "Reservations", hours=0)
    folder.sync()
    land_call(folder, "second", "a", "Bookings", hours=1)
    folder.sync()
    for view in ("a", "Reservations", "Bookings"):
        rows = folder.records(f'from pca_wide."{view}" order by call_id')
        assert [(row["call_id"], row["Party Size"]) for row in rows] == [("first", 4.0), ("second", 4.0)]


def test_of_two_agents_with_one_name_the_first_has_the_view(tmp_path: Path) -> None:
    """In whatever case it is written. The other one's view has its id behind the name."""
    folder = DataFolder(tmp_path)
    land_call(folder, "first", "a", "Reservations", hours=0)
    land_call(folder, "second", "b", "RESERVATIONS", hours=1)
    land_call(folder, "third", "c", "a", hours=2)
    folder.sync()
    for view, call_id in {
        "Reservations": "first",
        "RESERVATIONS (b)": "second",
        "a": "first",
        "a (c)": "third",
    }.items():
        assert [row["call_id"] for row in folder.records(f'from pca_wide."{view}"')] == [call_id]


def test_calls_without_an_agent_are_counted_under_one_label(tmp_path: Path) -> None:
    """So the days add up to the calls."""
    folder = DataFolder(tmp_path)
    folder.land([body("a", STARTED, "known", 0, agent_id="a"), body("b", STARTED, "stray", 0, agent_id=None)])
    folder.sync()
    for table in ("agent_daily", "agent_hourly"):
        rows = folder.records(f"from {table} order by agent_id")
        assert [(row["agent_id"], row["agent_name"], row["calls"]) for row in rows] == [
            ("(unknown)", "(unknown)", 1),
            ("a", "a", 1),
        ]
    assert folder.rows("select agent_id, agent_name from calls_enriched where call_id = 'stray'") == [
        (None, "(unknown)")
    ]
    folder.land([body("c", ENDED, "stray", 5, agent_id="a")])
    folder.sync()
    assert folder.rows("select agent_id, calls from agent_daily") == [("a", 2)]


def test_a_call_id_of_two_organizations_is_a_call_of_the_first_one(tmp_path: Path) -> None:
    """Whichever event lands first, the other organization's events are left out of the call."""
    ours, theirs = body("a", STARTED, "call", 0), body("b", ENDED, "call", 60)
    theirs = theirs.replace(b'"organization"', b'"another"')
    for order in ([ours, theirs], [theirs, ours]):
        folder = DataFolder(tmp_path / str(order[0] == ours))
        for each in order:
            folder.land([each])
            folder.sync()
        assert folder.rows("select organization_id, status, event_count from calls") == [
            ("organization", "in_progress", 1)
        ]
