"""What rules want: each thing once, and only of what happens from the moment on in which they are named."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.acting import AFTER_S, ENDED, NAMED_AT, Watcher, acting, call, landed_steps, write_rule
from support.data_folder import body

from connector.landing.zones import LISTED, PCA
from pipelines.actions.paths import state_dir_of


def test_each_thing_is_wanted_once_however_often_it_is_delivered_and_loaded(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    assert watcher.wanted() == []
    folder.land(call(1, 10))
    assert watcher.wanted() == ['{"call_id":"call-1"}']
    folder.land(call(1, 10) + call(2, 20))
    assert watcher.wanted() == ['{"call_id":"call-2"}']
    assert watcher.wanted() == []
    # another process, which knows nothing but the tables
    assert Watcher(folder).wanted() == []
    folder.sync(is_full_refresh=True)
    assert Watcher(folder).wanted() == []
    (folder.path / "actions" / "position.json").unlink()
    assert Watcher(folder).wanted() == []
    assert folder.rows("select call_id, state, attempts from actions order by call_id") == [
        ("call-1", "due", 0),
        ("call-2", "due", 0),
    ]


def test_history_sets_nothing_off_and_neither_does_what_comes_late_of_it(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    folder.land(call(1, -5000))
    watcher = Watcher(folder)
    assert watcher.wanted() == []
    folder.land(call(2, -900))
    assert watcher.wanted() == []
    folder.land(call(3, 1))
    assert watcher.wanted() == ['{"call_id":"call-3"}']


def test_a_clock_that_is_behind_makes_no_history_of_what_is_known(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    folder.land(call(1, -5000), received_at_us=int(NAMED_AT.timestamp() * 1e6))
    watcher = Watcher(folder, NAMED_AT - timedelta(days=365))
    assert watcher.wanted() == []
    assert [step["due_at"] for step in landed_steps(folder)] == [NAMED_AT + timedelta(seconds=1)]


def test_what_was_decided_and_not_landed_before_a_crash_is_not_decided_again(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    first = Watcher(folder)
    first.wanted()
    folder.land(call(1, 10))
    folder.sync()
    seen = first.look()
    assert len(seen.actions) == 1
    # the process is killed here: the log is on the disk and not in landing
    second = Watcher(folder)
    assert second.lookout.look(()) is None  # the tables do not know yet what has landed by now
    assert second.wanted() == []
    assert folder.rows("select action_id from actions") == [(seen.actions[0].action_id,)]


def test_a_folder_that_was_moved_or_restored_sets_nothing_off(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    folder.land(call(1, 10))
    watcher.wanted()
    folder.sync()
    shutil.copytree(folder.path, tmp_path / "backup", symlinks=True)
    folder.land(call(2, 20))
    assert len(watcher.wanted()) == 1
    moved = acting(tmp_path / "moved", "mine", own=tmp_path / "own")
    shutil.copytree(folder.path / "landing", moved.path / "landing")
    assert Watcher(moved).wanted() == []
    older = acting(tmp_path / "backup", "mine", own=tmp_path / "own")
    assert Watcher(older).wanted() == []
    # the webhook of the second call comes again: it is the same action, by its id
    older.land(call(2, 20))
    again = Watcher(older)
    older.sync()
    (repeated,) = again.look().actions
    folder.sync()
    assert (repeated.action_id,) in folder.rows("select action_id from actions")


def test_a_change_makes_it_be_done_once_more_and_the_way_back_once_more_again(tmp_path: Path) -> None:
    text = """-- A test.
--
-- action: http
-- once per: call_id
-- again when: transfer_to
select call_id, transfer_to, transferred_at as happened_at from calls where transferred_at is not null
"""
    write_rule(tmp_path / "own", text)
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    revisions = []
    for number, target in enumerate(("sales", "sales", "support", "sales")):
        event = body(
            f"t{number}", "CallHandler.CallTransferred", "call-1", AFTER_S + number, transfer_to=target
        )
        folder.land([event])
        revisions.append(len(watcher.wanted()))
    assert revisions == [1, 0, 1, 1]
    folder.sync()
    assert folder.rows("select revision, request ->> '$.transfer_to' from actions order by revision") == [
        (1, "sales"),
        (2, "support"),
        (3, "sales"),
    ]


def test_an_edited_rule_acts_on_what_happens_from_then_on(tmp_path: Path) -> None:
    path = write_rule(tmp_path / "own", more="-- again when: status\n")
    path.write_text(path.read_text().replace("where ended_at", "where call_id <> 'call-1' and ended_at"))
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    folder.land(call(0, -9999))
    assert watcher.wanted() == []
    folder.land(call(1, 10))
    assert watcher.wanted() == []
    later = NAMED_AT + timedelta(hours=1)
    folder.sync(published_at=later)
    watcher.look()
    write_rule(tmp_path / "own")  # call-1 matches now, but it happened before
    folder.land(call(2, 7200))
    restarted = Watcher(folder, later + timedelta(hours=2))
    assert restarted.wanted() == ['{"call_id":"call-2"}']


def test_an_edited_rule_still_judges_what_arrives_late_of_the_minutes_before(tmp_path: Path) -> None:
    path = write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    Watcher(folder).wanted()
    path.write_text(path.read_text().replace("call_id, status", "call_id, agent_id, status"))
    restarted = Watcher(folder, NAMED_AT + timedelta(minutes=5))
    folder.land(call(1, -59) + call(2, -61))  # one ended a second after the naming, one before it
    assert restarted.wanted() == ['{"call_id":"call-1"}']


def test_a_rule_that_is_switched_off_and_on_again_acts_on_nothing_of_the_time_between(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    write_rule(tmp_path / "own", name="other")
    both = acting(tmp_path / "data", "mine", "other", own=tmp_path / "own")
    Watcher(both).wanted()
    both.land(call(1, 10))
    assert len(Watcher(both).wanted()) == 2
    one = acting(tmp_path / "data", "other", own=tmp_path / "own")
    one.land(call(2, 20))
    assert len(Watcher(one).wanted()) == 1
    both.sync()
    watcher = Watcher(both, NAMED_AT + timedelta(hours=1))
    seen = watcher.look()
    assert [row.waiting.action.rule for row in seen.cancelled] == ["mine"]
    assert seen.actions == []
    watcher.log.land()
    both.land(call(3, 7200))
    assert len(watcher.wanted()) == 2


def test_hostile_values_stay_values(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    odd = 'x"}\n\', {"a": 1} \u202e\x00 \U0001f363'
    folder.land([body("e", ENDED, odd, AFTER_S + 5)])
    folder.sync()
    (action,) = watcher.look().actions
    assert action.call_id == odd
    watcher.log.land()
    folder.sync()
    assert folder.rows("select request ->> '$.call_id' from actions") == [(odd,)]


def test_steps_that_a_kill_cut_off_are_left_out_and_damaged_ones_are_kept_aside(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    folder.land(call(1, 10) + call(2, 20))
    folder.sync()
    assert len(watcher.look().actions) == 2
    (log,) = (folder.path / "actions").glob("*.steps")
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    (folder.path / "actions" / "position.json").unlink()  # it is written only after the log
    assert len(Watcher(folder).wanted()) == 1
    assert not list((folder.path / "actions").glob("*.steps"))
    damaged = folder.path / "actions" / "20250101T000000000000-00000000-000001.steps"
    damaged.write_bytes(b"00000000 [0,{}]\n" + whole[-10:])
    Watcher(folder)
    assert damaged.with_suffix(".damaged").exists()


def test_what_a_backfill_finds_sets_nothing_off(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", "call_states", "call_summaries", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    at = NAMED_AT + timedelta(minutes=5)
    listed = {"_id": "call-1", "ai_agent_id": "agent", "call_start_time": at.isoformat()}
    listed |= {"call_end_time": (at + timedelta(minutes=1)).isoformat(), "call_status": "ended"}
    row = {"call_id": "call-1", "outcome": "backfilled", "body": json.dumps(listed).encode()}
    folder.land_answers(LISTED, [{**row, "attempted_at": at + timedelta(hours=1)}])
    assert watcher.wanted() == []
    assert folder.rows("select ended_source from calls") == [("api",)]
    answer = {"items": [{"name": "Mood", "type": "string", "result": "fine"}]}
    folder.land_answers(PCA, [{"call_id": "call-1", "body": json.dumps(answer).encode()}])
    assert watcher.wanted() == []
    assert folder.rows("select pca_status from calls") == [("fetched",)]
    # the webhook of the end comes late: it happened, and it is told of once
    folder.land(call(1, 301))
    assert len(watcher.wanted()) == 3


@pytest.mark.parametrize("damage", [b"", bytes(100), b'{"\xff\xfe":{}}', b"[1]"])
def test_a_damaged_position_is_only_a_longer_look(tmp_path: Path, damage: bytes) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    Watcher(folder).wanted()
    folder.land(call(1, 10))
    (state_dir_of(folder) / "position.json").write_bytes(damage)
    assert len(Watcher(folder).wanted()) == 1
    (state_dir_of(folder) / "position.json").write_bytes(damage)
    assert Watcher(folder).wanted() == []


def test_an_edit_of_when_and_how_to_send_makes_no_history_of_what_is_on_its_way(tmp_path: Path) -> None:
    """A fact from before the last look that arrives after the edit is still acted on."""
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    watcher = Watcher(folder)
    watcher.wanted()
    watcher.at = NAMED_AT + timedelta(hours=1)
    folder.land(call(1, 3500))
    folder.sync(published_at=watcher.at)
    watcher.look()
    watcher.log.land()
    write_rule(tmp_path / "own", more="-- at most: 5 per hour\n-- quiet hours: 01:00-02:00 UTC\n-- keep: id")
    folder.land(call(2, 3500))
    assert watcher.wanted() == ['{"call_id":"call-2"}']
