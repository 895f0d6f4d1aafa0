"""Clocks of several machines disagree, and a clock may be wrong for a minute: nothing waits for them."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from support.data_folder import NOON, NOON_US, DataFolder, body, dagster_instance

from connector.landing.zones import AGENTS, ANSWER_SCHEMA, CALLS, PCA, Zone
from connector.verbex.answer import ApiUnavailableError
from pipelines.enrichment.due import list_due
from pipelines.enrichment.hold import held_until, note_hold
from pipelines.names import FETCH_JOB
from pipelines.resources import WarehouseResource
from pipelines.sensors import due_sensor, landing_sensor

ANALYSED = "callAnalysis.pcaCompleted"
ENDED = "CallHandler.CallEnded"
TWO_DAYS = timedelta(days=2)
HOUR = timedelta(hours=1)
DECADE = timedelta(days=3650)
# What the clocks of fetcher and receiver are ahead: each alone, and in opposite directions.
SKEWS = [
    (timedelta(), timedelta()),
    *((skew, timedelta()) for skew in (HOUR, -HOUR, DECADE, -DECADE)),
    *((timedelta(), skew) for skew in (HOUR, -DECADE)),
    *((skew, -skew) for skew in (-HOUR, DECADE)),
]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def announce(folder: DataFolder, trace_id: str, at: datetime) -> None:
    """Land an announcement that a receiver stamped with `at`, by its own clock."""
    folder.land([body(trace_id, ANALYSED, "call", 70)], received_at_us=round(at.timestamp() * 1e6))
    folder.sync()


def answer(folder: DataFolder, zone: Zone, at: datetime, **row: Any) -> None:  # noqa: ANN401
    """Land what one due call was answered at `at`, as a pass does that read `list_due` before."""
    call_id = "" if zone is AGENTS else "call"
    folder.land_answers(
        zone, [{"call_id": call_id, "attempted_at": at, "body": b'{"items": [], "messages": []}', **row}]
    )
    folder.sync()


def known(folder: DataFolder, zone: Zone, as_of: datetime) -> dict[str, int]:
    """Return what a pass notes with its answer: what was known when it asked."""
    [due] = list_due(folder, zone, as_of)
    return {"attempt_number": due.attempts_ever + 1, "announcements": due.announcements}


@pytest.mark.parametrize(("fetcher", "receiver"), SKEWS)
def test_one_answer_settles_one_announcement_whatever_the_clocks_show(
    folder: DataFolder, receiver: timedelta, fetcher: timedelta
) -> None:
    """It is asked once. A further announcement is asked for once more, and the further answer is shown."""
    now = NOON + fetcher
    announce(folder, "first", NOON + receiver)
    answer(folder, PCA, now, **known(folder, PCA, now), body=b'{"items": [{"name": "n", "result": "1"}]}')
    assert list_due(folder, PCA, now) == []
    announce(folder, "second", NOON + receiver + timedelta(seconds=30))
    noted = known(folder, PCA, now)
    # The clock was set back in between, so the second answer is stamped before the first one.
    answer(folder, PCA, now - HOUR, **noted, body=b'{"items": [{"name": "n", "result": "2"}]}')
    assert list_due(folder, PCA, now) == []
    assert folder.rows("select result from pca_items") == [("2",)]
    assert folder.rows("select revision from pca_revisions where is_newest") == [(2,)]


def test_an_announcement_during_a_request_is_asked_for_again(folder: DataFolder) -> None:
    """The answer was begun before the second announcement, so it settles only the first."""
    announce(folder, "first", NOON)
    noted = known(folder, PCA, NOON)
    announce(folder, "second", NOON + timedelta(seconds=1))
    answer(folder, PCA, NOON + timedelta(seconds=9), **noted)
    assert known(folder, PCA, NOON + HOUR) == {"attempt_number": 2, "announcements": 2}


def test_a_redelivery_is_no_further_announcement(folder: DataFolder) -> None:
    """The same traceId, received again and later, is the same announcement."""
    announce(folder, "first", NOON)
    answer(folder, PCA, NOON, **known(folder, PCA, NOON))
    announce(folder, "first", NOON + HOUR)
    assert list_due(folder, PCA, NOON + TWO_DAYS) == []


def test_files_landed_before_attempts_noted_what_they_knew_are_read(folder: DataFolder) -> None:
    """They lack the columns. Their times decide as they did then, and one new attempt settles the rest."""
    announce(folder, "first", NOON)
    old = pa.schema(
        [field for field in ANSWER_SCHEMA if field.name not in ("attempt_number", "announcements")]
    )
    row = {
        "fetcher_id": "old", "sequence": 0, "call_id": "call", "agent_id": "agent", "outcome": "answered",
        "attempted_at": NOON + HOUR, "body": b'{"items": []}',
    }  # fmt: skip
    folder.landing.write(pa.Table.from_pylist([row], old), zone=PCA, name="old")
    folder.sync()
    assert list_due(folder, PCA, NOON + TWO_DAYS) == []
    announce(folder, "second", NOON + TWO_DAYS)
    assert known(folder, PCA, NOON + TWO_DAYS) == {"attempt_number": 2, "announcements": 2}
    answer(folder, PCA, NOON, **known(folder, PCA, NOON + TWO_DAYS))
    assert list_due(folder, PCA, NOON + TWO_DAYS) == []


@pytest.mark.parametrize("zone", [PCA, CALLS, AGENTS])
@pytest.mark.parametrize("outcome", ["pending", "failed", "unavailable"])
def test_an_attempt_of_a_wrong_clock_holds_nothing_back(folder: DataFolder, zone: Zone, outcome: str) -> None:
    """Once the clock is right, it is asked again at once, and the right attempt then counts as the newest."""
    folder.land([body("end", ENDED, "call", 60), body("pca", ANALYSED, "call", 70)])
    folder.sync()
    wrong = NOON + TWO_DAYS
    retry_at = None if outcome == "unavailable" else wrong + timedelta(seconds=10)
    first = {**known(folder, zone, wrong), "outcome": outcome, "retry_at": retry_at, "body": None}
    answer(folder, zone, wrong, **first)
    second = known(folder, zone, NOON)
    assert second["attempt_number"] == 2
    answer(folder, zone, NOON, **second, outcome="pending", retry_at=NOON + HOUR, body=None)
    assert list_due(folder, zone, NOON) == []
    answer(folder, zone, NOON + HOUR, **known(folder, zone, NOON + HOUR))
    assert list_due(folder, zone, NOON + HOUR) == []


@pytest.mark.parametrize("zone", [PCA, CALLS])
def test_an_end_in_the_future_holds_nothing_back(folder: DataFolder, zone: Zone) -> None:
    """Verbex's clock, or ours, was wrong when the call ended. Its lost announcement is not waited for."""
    folder.land([body("end", ENDED, "call", 400 * 86_400)])
    folder.sync()
    assert [due.call_id for due in list_due(folder, zone, NOON)] == ["call"]


@pytest.mark.parametrize("apart", [timedelta(minutes=-4), timedelta(minutes=4)])
def test_clocks_that_are_minutes_apart_leave_verbex_its_time_to_announce(
    folder: DataFolder, apart: timedelta
) -> None:
    """A call that has just ended is not asked for, whichever clock is ahead."""
    folder.land([body("end", ENDED, "call", 60)])
    folder.sync()
    [(ended_at,)] = folder.rows("select ended_at from calls")
    assert list_due(folder, PCA, ended_at + apart) == []


def test_a_wait_ends_whatever_the_clock_showed_when_it_was_noted(tmp_path: Path) -> None:
    """A wait that was noted in the future, by a wrong clock, holds nothing. A right one holds to its end."""
    folder = DataFolder(tmp_path)
    for ahead in (timedelta(minutes=10), timedelta(hours=10), TWO_DAYS):
        note_hold(folder, ApiUnavailableError("wait", retry_after_s=3600), NOON + ahead)
        assert held_until(folder, NOON) is None
        assert held_until(folder, NOON + ahead + timedelta(minutes=59)) == NOON + ahead + HOUR
        assert held_until(folder, NOON + ahead + HOUR) is None


def test_a_delivery_from_the_future_makes_no_lag(folder: DataFolder) -> None:
    """Neither a receiver's wrong clock nor a body stamped 2038 shows as a time after the publish."""
    later = int((NOON + TWO_DAYS).timestamp()) * 1_000_000
    folder.land(
        [body("now", ENDED, "call", 0), body("2038", ENDED, "other", 400_000_000)],
        received_at_us=[NOON_US - 5_000_000, later],
    )
    folder.sync()
    [status] = folder.records("select last_received_at, last_occurred_at, lag_s from pipeline_status")
    assert status["lag_s"] == 5
    assert status["last_received_at"] <= NOON
    assert status["last_occurred_at"] <= NOON


@pytest.mark.parametrize("ahead", [timedelta(minutes=-5), TWO_DAYS, timedelta(days=3650)])
def test_no_time_that_dagster_noted_holds_a_sensor_back(tmp_path: Path, ahead: timedelta) -> None:
    """Neither the time of the next try nor a run that failed, or began, in a future that never was."""
    folder, now = DataFolder(tmp_path / "data"), datetime.now(UTC)
    folder.land([body("end", ENDED, "call", 60), body("pca", ANALYSED, "call", 70)])
    sensor, due = landing_sensor(folder.models), due_sensor(has_api_key=True)
    resources = {"warehouse": WarehouseResource(folder)}
    with dagster_instance(tmp_path) as instance:

        def look(sensor: dg.SensorDefinition, cursor: str | None = None) -> tuple[object, str | None]:
            with dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor) as context:
                return sensor(context), context.cursor

        _, cursor = look(sensor)
        assert cursor is not None
        fingerprint, tries, _ = cursor.split()
        noted = (now + ahead).isoformat()
        assert isinstance(look(sensor, f"{fingerprint} {tries} {noted}")[0], dg.RunRequest)
        folder.sync()
        for status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED):
            run = dg.DagsterRun(job_name=FETCH_JOB, status=status)
            instance.add_run(run)
        with closing(sqlite3.connect(tmp_path / "dagster_home" / "history" / "runs.db")) as runs:
            stamp = (now + ahead).replace(tzinfo=None).isoformat(sep=" ")
            runs.execute("update runs set create_timestamp = ?, update_timestamp = ?", [stamp, stamp])
            runs.commit()
        assert isinstance(look(due)[0], dg.RunRequest)
