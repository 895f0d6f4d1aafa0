"""Actions from the tables to their destination: sent once, kept, and tried again."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.acting import Watcher, act, act_on, acting, call, later, settings_of, write_rule
from support.actions import SECRET
from support.data_folder import DataFolder
from support.deadline import HANG_S

from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from pipelines.actions.dispatcher import WORKERS
from pipelines.actions.pause import pause, resume

KEEP = "-- keep: ticket_id, ticket.id\n"


async def named(folder: DataFolder, url: str) -> DataFolder:
    """Return the folder once its rules are named."""
    await act_on(settings_of(folder, MINE_URL=url), folder, [])
    return folder


async def test_what_is_wanted_is_sent_once_and_its_answer_is_kept(tmp_path: Path) -> None:
    write_rule(tmp_path / "own", more=KEEP)
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer(SECRET) as destination:
        settings = settings_of(folder, MINE_URL=destination.url, MINE_SECRET=SECRET)
        await named(folder, destination.url)
        await act_on(settings, folder, call(1, later()))
        await act_on(settings, folder, call(1, later()))
        assert set(destination.handled.values()) == {1}
        (request,) = destination.requests
    (row,) = folder.records("from actions")
    assert row["state"] == "sent"
    assert (row["attempts"], row["http_status"], row["call_id"]) == (1, 200, "call-1")
    assert request.body == row["request"].encode()
    assert request.webhook_id == row["action_id"]
    assert folder.rows("select call_id, rule, name, value from action_links order by name") == [
        ("call-1", "mine", "ticket.id", "1"),
        ("call-1", "mine", "ticket_id", "T-1"),
    ]


async def test_what_does_not_get_through_waits_and_then_goes_on_with_the_same_id(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer(faults=Faults(server_error=1.0)) as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        await act_on(settings, folder, call(1, later()))
        assert folder.rows("select state, attempts, http_status from actions") == [("due", 1, 500)]
        await act_on(settings, folder, [])
        assert len(destination.requests) == 1
        destination.faults = Faults()
        await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(seconds=10))
        assert len(destination.requests) == 2
        assert {request.webhook_id for request in destination.requests} == set(destination.handled)
    assert folder.rows("select state, attempts, http_status from actions") == [("sent", 2, 200)]


async def test_nothing_goes_out_while_actions_are_paused(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        pause(folder.path, datetime.now(UTC))
        await act_on(settings, folder, call(1, later()))
        assert destination.requests == []
        assert folder.rows("select state from actions") == [("due",)]
        assert resume(folder.path)
        await act(settings, folder)
        assert len(destination.requests) == 1


async def test_what_is_too_late_expires_and_what_is_too_early_waits(tmp_path: Path) -> None:
    text = """-- A test.
--
-- action: http
-- once per: call_id
-- not before: early_at
-- not after: late_at
select call_id, ended_at as happened_at,
    ended_at + if(call_id = 'call-1', interval 0 seconds, interval 1 hour) as early_at,
    ended_at + if(call_id = 'call-2', interval 1 second, interval 9 hours) as late_at
from calls where ended_at is not null
"""
    write_rule(tmp_path / "own", text)
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        bodies = [body for number in (1, 2, 3) for body in call(number, later(-58))]
        await act_on(settings, folder, bodies)
        await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(hours=2))
        assert len(destination.requests) == 2
        assert b"late_at" not in destination.requests[0].body
    found = folder.rows("select call_id, state from actions order by call_id")
    assert found == [("call-1", "sent"), ("call-2", "expired"), ("call-3", "sent")]


async def test_quiet_hours_and_limits_hold_actions_and_say_so_once(tmp_path: Path) -> None:
    write_rule(tmp_path / "own", more="-- at most: 2 per hour\n")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        await act_on(settings, folder, [body for number in range(5) for body in call(number, later(number))])
        assert len(destination.requests) == 2
        await act_on(settings, folder, [])
        assert len(destination.requests) == 2
        found = folder.rows(
            "select state, state_reason, steps, count(*) from actions group by all order by 1"
        )
        assert found == [("held", "at most 2 per hour", 2, 3), ("sent", None, 2, 2)]
        await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(minutes=61))
        assert len(destination.requests) == 4


async def test_a_rule_without_a_destination_holds_its_actions_and_names_the_setting(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    await named(folder, "")
    await act_on(settings_of(folder), folder, call(1, later()))
    ((state, reason),) = folder.rows("select state, state_reason from actions")
    assert state == "held"
    assert "VERBEX_ACTION_MINE_URL is not set" in reason


async def test_a_destination_that_refuses_ends_it_and_a_dead_one_holds_up_no_other_rule(
    tmp_path: Path,
) -> None:
    write_rule(tmp_path / "own")
    write_rule(tmp_path / "own", name="other")
    folder = acting(tmp_path / "data", "mine", "other", own=tmp_path / "own")
    async with (
        DestinationServer(SECRET) as strict,
        DestinationServer(faults=Faults(slow=1.0, slow_s=3)) as slow,
    ):
        settings = settings_of(folder, MINE_URL=strict.url, OTHER_URL=slow.url)
        await act_on(settings, folder, [])
        await act_on(settings, folder, [body for number in range(20) for body in call(number, later(number))])
        assert strict.refused == 20
        first = min(request.at for request in slow.requests)
    failed = folder.records("from actions where rule = 'mine'")
    assert {(row["state"], row["http_status"], row["attempts"]) for row in failed} == {("failed", 401, 1)}
    assert all(row["last_attempt_at"] < first + timedelta(seconds=3) for row in failed)
    assert folder.rows("select count(*) from actions where rule = 'other' and state = 'sent'") == [(20,)]


async def test_states_of_a_call_arrive_once_each_and_in_order(tmp_path: Path) -> None:
    folder = acting(tmp_path / "data", "call_states")
    async with DestinationServer(faults=Faults(server_error=0.5)) as destination:
        settings = settings_of(folder, CALL_STATES_URL=destination.url)
        await act_on(settings, folder, [])
        await act_on(
            settings, folder, [body for number in range(6) for body in reversed(call(number, later()))]
        )
        assert 0 < len(destination.handled) < 12
        destination.faults = Faults()
        await act_on(settings, folder, [], lambda: datetime.now(UTC) + timedelta(hours=1))
        assert len(destination.handled) == 12
        arrived = [request for request in destination.requests if request.fault is None]
    states: dict[str, list[str]] = {}
    for request in arrived:
        columns = json.loads(request.body)
        states.setdefault(columns["call_id"], []).append(columns["state"])
    assert list(states.values()) == [["started", "ended"]] * 6


async def test_what_waited_while_a_rule_was_off_is_cancelled_also_if_a_kill_came_between(
    tmp_path: Path,
) -> None:
    write_rule(tmp_path / "own")
    on = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    off = acting(tmp_path / "data", own=tmp_path / "own")
    async with DestinationServer(faults=Faults(server_error=1.0)) as destination:
        settings = settings_of(on, MINE_URL=destination.url)
        await named(on, destination.url)
        await act_on(settings, on, call(1, later()))
        await act_on(settings_of(off), off, [])
        destination.faults = Faults()
        on.sync()
        watcher = Watcher(on, datetime.now(UTC))  # it decides that the rule acts again, and is killed
        watcher.look()
        await act_on(settings, on, [])
        await act_on(settings, on, [], lambda: datetime.now(UTC) + timedelta(hours=1))
        assert not destination.handled
    assert on.rows("select state from actions") == [("cancelled",)]


async def test_a_change_does_not_arrive_before_what_it_changed(tmp_path: Path) -> None:
    """Or a record of the receiver would keep the older values."""
    text = """-- A test.
--
-- action: http
-- once per: call_id
-- again when: number
select event.call_id, min(event.occurred_at) as happened_at, count(*) as number
from stored.events as event
semi join changed using (call_id)
group by event.call_id
"""
    write_rule(tmp_path / "own", text)
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer(faults=Faults(server_error=1.0)) as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        calls = [call(number, later()) for number in range(6)]
        now = datetime.now(UTC)
        await act_on(settings, folder, [started for started, _ in calls], lambda: now)
        destination.faults = Faults()
        await act_on(settings, folder, [ended for _, ended in calls], lambda: now)
        await act_on(settings, folder, [], lambda: now + timedelta(hours=1))
        arrived = [json.loads(request.body) for request in destination.requests if request.fault is None]
    numbers: dict[str, list[int]] = {}
    for columns in arrived:
        numbers.setdefault(columns["call_id"], []).append(columns["number"])
    assert list(numbers.values()) == [[1, 2]] * 6


async def test_a_clock_that_is_set_back_meanwhile_lets_a_sync_end(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    count = WORKERS["http"] + 1
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await named(folder, destination.url)
        folder.land(body for number in range(count) for body in call(number, later()))
        folder.sync()
        async with asyncio.timeout(HANG_S):
            await act(
                settings,
                folder,
                lambda: datetime.now(UTC) - timedelta(hours=1 if destination.requests else 0),
            )
        folder.sync()
        await act(settings, folder)
        assert len(destination.handled) == count
        assert set(destination.handled.values()) == {1}
