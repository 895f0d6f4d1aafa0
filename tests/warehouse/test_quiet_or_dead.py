"""The two causes of silence: there are no calls (quiet), or webhooks do not reach us (dead)."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.data_folder import NOON, NOON_US, DataFolder, body
from support.oracle import STARTED

from connector.landing.zones import LISTED
from pipelines.warehouse.audit import Finding

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Make a folder whose last delivery came at noon."""
    folder = DataFolder(tmp_path / "data")
    folder.land([body("a", STARTED, "known", 0)], received_at_us=NOON_US)
    return folder


def listed(call_id: str, started_at: datetime, ended_at: datetime | None = None) -> dict[str, Any]:
    """Build a call as Verbex lists it."""
    call = {"call_start_time": started_at.isoformat(), "call_end_time": ended_at and ended_at.isoformat()}
    return {"call_id": call_id, "outcome": "listed", "body": json.dumps(call).encode()}


def land_list(folder: DataFolder, *calls: dict[str, Any], at: datetime) -> None:
    """Land the whole list of calls as Verbex has it at a moment."""
    window = {"since": (at - DAY).isoformat(), "until": at.isoformat(), "agent_ids": [], "calls": len(calls)}
    swept = {"call_id": "", "agent_id": None, "outcome": "swept", "body": json.dumps(window).encode()}
    folder.land_answers(LISTED, [{**row, "attempted_at": at} for row in (*calls, swept)])


def findings(folder: DataFolder) -> dict[str, Finding]:
    """Sync, and return what the checks find, by name."""
    folder.sync()
    return folder.inspect("call_drift")


def unheard(folder: DataFolder) -> list[object]:
    """Return the calls that show that webhooks do not reach us."""
    return [row[0] for row in findings(folder)["calls_after_last_event"].rows]


def test_it_is_quiet_when_verbex_lists_nothing_newer(folder: DataFolder) -> None:
    """Hours of silence are no failure if there were no calls."""
    land_list(folder, listed("known", NOON - HOUR, NOON), at=NOON + 6 * HOUR)
    assert unheard(folder) == []


def test_the_webhooks_are_dead_when_verbex_lists_calls_that_no_event_reported(folder: DataFolder) -> None:
    """The calls are shown, newest first, with the time of the last delivery."""
    land_list(
        folder,
        listed("first", NOON + HOUR, NOON + 2 * HOUR),
        listed("second", NOON + 3 * HOUR),
        at=NOON + 6 * HOUR,
    )
    finding = findings(folder)["calls_after_last_event"]
    assert not finding.is_blocking
    rows = [dict(zip(finding.columns, row, strict=True)) for row in finding.rows]
    assert [row["call_id"] for row in rows] == ["second", "first"]
    assert {row["last_received_at"] for row in rows} == {NOON}


def test_a_call_of_which_only_the_end_is_missing_is_a_sign_too(folder: DataFolder) -> None:
    """It started before the silence and ended during it."""
    land_list(folder, listed("known", NOON - HOUR, NOON + HOUR), at=NOON + 6 * HOUR)
    assert unheard(folder) == ["known"]


def test_what_happened_just_before_the_list_was_read_may_still_be_on_its_way(folder: DataFolder) -> None:
    """Within five minutes of either side, the check does not fail."""
    at = NOON + 6 * HOUR
    land_list(
        folder,
        listed("new", at - MINUTE),
        listed("known", NOON - HOUR, NOON + MINUTE),
        listed("x", NOON),
        at=at,
    )
    assert unheard(folder) == []


def test_the_check_passes_again_with_the_next_delivery(folder: DataFolder) -> None:
    """What was lost in between is in call_drift. This check only shows whether events arrive."""
    land_list(folder, listed("lost", NOON + HOUR), at=NOON + 2 * HOUR)
    assert unheard(folder) == ["lost"]
    folder.land([b"no event"], received_at_us=NOON_US + 7_200_000_000)
    folder.land([body("b", STARTED, "next", 7200)], received_at_us=NOON_US + 7_200_000_000)
    assert unheard(folder) == []
    assert folder.rows("select call_id, kind from call_drift") == [("lost", "missing_here")]


def test_an_old_list_fails_a_check_of_its_own(folder: DataFolder) -> None:
    """Once events are two days newer than the list, it is too old to explain a silence."""
    land_list(folder, at=NOON)
    assert findings(folder)["list_older_than_events"].rows == ()
    folder.land([body("b", STARTED, "later", 0)], received_at_us=NOON_US + 3 * 86_400_000_000)
    (row,) = findings(folder)["list_older_than_events"].rows
    assert row == (NOON, (NOON + 3 * DAY))


def test_without_any_list_nothing_is_shown_as_compared(folder: DataFolder) -> None:
    """A check that says that the list is new enough would be wrong. No call is said to be missing."""
    found = findings(folder)
    assert found["list_older_than_events"].rows == ((None, NOON),)
    assert found["calls_after_last_event"].rows == ()
