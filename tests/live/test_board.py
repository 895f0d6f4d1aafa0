"""The numbers of the main page, against the same numbers computed in Python from what was sent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median
from zoneinfo import ZoneInfo

import pytest
from support.data_folder import DataFolder, bodies_of, body, spoil
from support.oracle import ENDED, STARTED, TRANSFERRED, Received, expected_calls, expected_events

from connector.simulator.world import World
from pipelines.live.board import Part, build_board
from pipelines.live.health import Health
from pipelines.live.published import Reader
from pipelines.live.view import View, periods_of
from pipelines.live.words import Words

START = datetime(2026, 3, 7, 18, tzinfo=UTC)
NOW = START + timedelta(days=9)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataFolder, list[dict[str, object]]]:
    """A published folder of nine days of calls, and the calls as Python makes them."""
    folder = DataFolder(tmp_path_factory.mktemp("board") / "data")
    bodies = bodies_of(World.build(calls=300, start_at=START, span_s=timedelta(days=9).total_seconds()))
    at_us = int(NOW.timestamp() * 1e6)
    folder.land(bodies, received_at_us=[at_us] * len(bodies))
    folder.sync()
    events = expected_events(Received(at_us, body) for body in bodies)
    return folder, list(expected_calls(events.values()).values())


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("is_one_agent", [False, True])
@pytest.mark.parametrize("day", [None, "2026-03-14"])
def test_every_number_is_that_of_the_calls(
    sent: tuple[DataFolder, list[dict[str, object]]], zone: str, day: str | None, *, is_one_agent: bool
) -> None:
    folder, calls = sent
    agent_id = max((str(call["agent_id"]) for call in calls), default="") if is_one_agent else None
    view = View.of({"agent": agent_id or "", "day": day or ""})
    reader = Reader(folder)
    reader.reopen()
    words = Words(ZoneInfo(zone))
    board = build_board(reader, view, Health(NOW), NOW, words)
    reader.close()
    shown = [call for call in calls if agent_id in (None, call["agent_id"])]
    periods = periods_of(view, NOW, words.zone)
    for period, row in zip(periods.compared, board["period"]["rows"], strict=True):
        started, ended, transferred = (
            [call for call in shown if (at := call[name]) and period.since <= at < period.until]  # type: ignore[operator]
            for name in ("started_at", "ended_at", "transferred_at")
        )
        assert (row["started"], row["ended"], row["transferred"]) == tuple(
            map(len, (started, ended, transferred))
        )
        durations = sorted(call["duration_s"] for call in ended if call["duration_s"] is not None)  # type: ignore[type-var]
        assert row["mean_duration_s"] == pytest.approx(mean(durations) if durations else None)  # type: ignore[type-var]
        assert row["p95_duration_s"] == pytest.approx(quantile(durations, 0.95))  # type: ignore[arg-type]
        assert row["pca_announced"] == sum(call["pca_completed_at"] is not None for call in ended)
        assert row["pca_failed"] == sum(call["pca_status"] == "failed" for call in ended)
        lags = sorted(call["pca_lag_s"] for call in ended if call["pca_lag_s"] is not None)  # type: ignore[type-var]
        assert row["p50_pca_lag_s"] == pytest.approx(median(lags) if lags else None)  # type: ignore[type-var]
    for name, period in (("minutes", periods.minutes), ("hours", periods.hours)):
        step_s = (period.until - period.since).total_seconds() / len(board[name]["rows"])
        assert step_s in (60, 3600)
        for row in board[name]["rows"]:
            until = row["begins_at"] + timedelta(seconds=step_s)
            assert row["calls"] == sum(
                bool(call["started_at"]) and row["begins_at"] <= call["started_at"] < until for call in shown
            )
    assert board["now"]["calls"] == sum(
        call["status"] == "in_progress" and NOW - call["last_event_at"] <= timedelta(days=1)  # type: ignore[operator]
        for call in shown
    )
    today = periods.compared[0]
    for row in board["agents"]["rows"]:
        assert row["calls"] == sum(
            call["agent_id"] == row["agent_id"]
            and bool(call["started_at"])
            and today.since <= call["started_at"] < today.until  # type: ignore[operator]
            for call in calls
        )


def quantile(values: list[float], share: float) -> float | None:
    """Return a quantile as `quantile_cont` defines it: between the two nearest values, by distance."""
    if not values:
        return None
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def odd_board(folder: DataFolder, now: datetime, agent_id: str | None = None) -> dict[str, Part]:
    reader = Reader(folder)
    reader.reopen()
    board = build_board(reader, View(agent_id), Health(now), now, Words(ZoneInfo("UTC")))
    reader.close()
    return board


def seconds(at: datetime) -> float:
    """Return a time as `body` takes it."""
    return at.timestamp() - 1_762_600_000


def test_every_call_in_progress_is_either_shown_as_such_or_stuck(tmp_path: Path) -> None:
    """With a start or not, with an event or known from Verbex's list alone, just before and after a day."""
    folder = DataFolder(tmp_path / "data")
    day, blink = timedelta(days=1), timedelta(microseconds=1)
    folder.land(
        [
            body("1", STARTED, "started", seconds(NOW - day)),
            body("2", STARTED, "silent", seconds(NOW - day - blink) - 1e-3),
            body("3", TRANSFERRED, "without start", seconds(NOW - timedelta(hours=2)), agent_id=None),
            body("4", STARTED, "ahead", seconds(NOW + day)),
        ],
        received_at_us=int((NOW - timedelta(hours=1)).timestamp() * 1e6),
    )
    folder.sync()
    spoil(
        folder.warehouse.published.resolve(),
        "insert into stored.calls by name select * replace ('listed' as call_id, null as started_at, "
        "null as first_event_at, null as last_event_at, 0 as event_count, "
        "timestamptz '2026-03-16 17:00Z' as updated_at) from stored.calls where call_id = 'started'",
    )
    board = odd_board(folder, NOW)
    shown = {row["call_id"] for row in board["now"]["rows"]}
    stuck = {row["call_id"] for row in board["attention"]["stuck"]}
    assert shown == {"started", "without start", "ahead", "listed"}
    assert stuck == {"silent"}
    nameless = odd_board(folder, NOW, "(unknown)")
    assert [row["call_id"] for row in nameless["now"]["rows"]] == ["without start"]


def test_a_call_is_long_by_the_calls_of_its_agent_if_there_are_enough_of_them(tmp_path: Path) -> None:
    """Also one whose start never came."""
    folder = DataFolder(tmp_path / "data")
    ended = [
        body(f"{name}{agent}{number}", name, f"{agent}{number}", seconds(NOW) - before_s, agent_id=agent)
        for agent, calls in (("busy", 20), ("new", 19))
        for number in range(calls)
        for name, before_s in ((STARTED, 9060), (ENDED, 9000))
    ]
    for agent in ("busy", "new"):
        ended.append(body(f"s{agent}", STARTED, f"{agent} started", seconds(NOW) - 61, agent_id=agent))
        ended.append(
            body(f"t{agent}", TRANSFERRED, f"{agent} transferred", seconds(NOW) - 61, agent_id=agent)
        )
        ended.append(body(f"u{agent}", STARTED, f"{agent} short", seconds(NOW) - 59, agent_id=agent))
    folder.land(ended, received_at_us=[int(NOW.timestamp() * 1e6)] * len(ended))
    folder.sync()
    now = odd_board(folder, NOW)["now"]
    assert {row["call_id"] for row in now["rows"] if row["is_long"]} == {"busy started", "busy transferred"}
    assert now["long_calls"] == 2


def test_every_stored_body_that_is_no_event_is_counted_however_many_reasons_there_are(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    bodies = [b"{" + b" " * number + b"x" for number in range(30)]
    folder.land(bodies, received_at_us=[int(NOW.timestamp() * 1e6) - 1000] * len(bodies))
    folder.sync()
    with folder.read() as connection:
        ((reasons,),) = connection.execute("select count(distinct problem) from quarantine").fetchall()
    attention = odd_board(folder, NOW)["attention"]
    assert attention["bodies"] == len(bodies)
    assert attention["reasons"] == reasons > len(attention["quarantine"])
