"""What people decide about actions: who sends takes it in, at once or with the next load."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.acting import NAMED_AT, act_on, acting, call, settings_of, write_rule
from support.actions import SECRET
from support.data_folder import DataFolder
from support.deadline import HANG_S

from connector.landing.zones import Step
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from pipelines.actions import dispatcher
from pipelines.actions.action import Action, Kind
from pipelines.actions.dial import call_id_of
from pipelines.actions.dispatcher import Dispatcher
from pipelines.actions.persons import (
    find_for_cancel,
    find_for_firing,
    find_for_retry,
    find_for_settling,
    land_cancels,
    land_fired,
    land_retries,
    land_settled,
)
from pipelines.actions.rules import RuleWordError
from pipelines.actions.senders import Senders
from pipelines.actions.steps import intended, land_steps, step_of
from pipelines.warehouse.intake import list_new_files

RING = """-- A test.
--
-- action: dial
-- once per: call_id
-- quiet hours: 03:00-04:00 UTC
-- at most: 100 per hour
select call_id, '+81312345678' as from_number, '+819012345678' as to_number, ended_at as happened_at
from calls
where ended_at is not null
"""


@dataclass
class Acts:
    """A dispatcher that follows a folder, at a time that tests set."""

    folder: DataFolder
    now: datetime = NAMED_AT
    said: list[str] = field(default_factory=list)

    async def load(self, done: Callable[[], bool]) -> None:
        """Bring the tables up to date with what lands, until something is done."""
        async with asyncio.timeout(HANG_S):
            while True:
                if list_new_files(self.folder, self.folder.models):
                    await asyncio.to_thread(self.folder.sync, published_at=self.now)
                if done():
                    return
                await asyncio.sleep(0.05)

    def states(self) -> list[str]:
        """Return the states of all actions, by call."""
        return [state for (state,) in self.folder.rows("select state from actions order by call_id")]

    def attempts(self) -> list[int]:
        """Return the numbers of attempts of all actions, by call."""
        return [count for (count,) in self.folder.rows("select attempts from actions order by call_id")]


@asynccontextmanager
async def following(folder: DataFolder, settings: Settings) -> AsyncIterator[Acts]:
    """Follow a folder whose rules are named by then."""
    acts = Acts(folder)
    rng = random.Random()
    senders = Senders(settings, folder, rng, lambda: acts.now)
    following = Dispatcher(folder, senders, lambda: acts.now, rng, acts.said.append)
    folder.sync()
    task = asyncio.create_task(following.follow())
    try:
        await acts.load(lambda: bool(folder.rows("select 1 from ops.action_steps where step = 'named'")))
        yield acts
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def make_actions(
    folder: DataFolder, *histories: str, rule: str = "mine", kind: Kind = "http"
) -> list[Action]:
    """Land an action with these steps for each history, such as `started 2, failed 3`."""
    actions = []
    for number, history in enumerate(histories):
        call_id = f"call-{number}"
        body = {"call_id": call_id, "from_number": "+81312345678", "to_number": "+819012345678"}
        identity = json.dumps({"call_id": call_id}, separators=(",", ":"))
        action = Action(
            f"act_{number:032x}", rule, kind, identity, 1, call_id, NAMED_AT, NAMED_AT, NAMED_AT, None,
            json.dumps(body).encode(),
        )  # fmt: skip
        steps = [intended(action)]
        for place, text in enumerate(filter(None, history.split(", ")), 1):
            step, step_number = text.split()
            at = NAMED_AT + timedelta(seconds=place)
            steps.append(step_of(action, as_step(step), int(step_number), at, due_at=at))
        land_steps(folder.landing, f"{rule}-{number}", enumerate(steps))
        actions.append(action)
    return actions


def as_step(word: str) -> Step:
    return word  # type: ignore[return-value]


HISTORIES = {
    # by whom it was sent had not seen the cancel, and noted something under the same number or a later one
    "cancelled 2, tried 2": "cancelled",
    "tried 2, tried 3, cancelled 2": "cancelled",
    "cancelled 2, held 2, tried 3": "cancelled",
    "cancelled 2, sent 2": "sent",
    "sent 2, cancelled 2": "sent",
    "cancelled 2, unknown 3": "unknown",
    # a call that may have been made is asked about first
    "started 2, cancelled 2": "due",
    "cancelled 2, started 2": "due",
    "started 2, cancelled 2, failed 3": "failed",
    "started 2, tried 3, cancelled 3": "cancelled",
    "cancelled 2, retried 3": "due",
    "failed 2, retried 3, tried 4": "due",
    "failed 2, retried 3, failed 4": "failed",
    "unknown 2, settled 3": "failed",
    "unknown 2, settled 3, retried 4": "due",
}


def test_no_order_in_which_steps_are_noted_loses_what_was_sent_or_what_a_person_decided(
    tmp_path: Path,
) -> None:
    folder = acting(tmp_path / "data")
    make_actions(folder, *HISTORIES)
    folder.sync()
    found = folder.rows("select state from actions order by action_id")
    assert dict(zip(HISTORIES, (state for (state,) in found), strict=True)) == HISTORIES


async def test_a_cancel_reaches_who_sends_also_if_it_was_noted_before_an_attempt_was_known(
    tmp_path: Path,
) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    async with DestinationServer(faults=Faults(server_error=1.0)) as destination:
        async with following(folder, settings_of(folder, MINE_URL=destination.url)) as acts:
            folder.land(call(1, 10))
            await acts.load(lambda: acts.states() == ["due"])
            rows = find_for_cancel(folder, ["mine"])
            await acts.load(lambda: acts.attempts() == [1])
            land_cancels(folder, rows, acts.now)
            await acts.load(lambda: acts.states() == ["cancelled"])
            destination.faults = Faults()
            # the other one goes out after a look that saw the cancel
            folder.land(call(2, 20))
            await acts.load(lambda: acts.states() == ["cancelled", "sent"])
            acts.now += timedelta(days=1)
            folder.land(call(3, 30))
            await acts.load(lambda: acts.states() == ["cancelled", "sent", "sent"])
        assert len(destination.handled) == 2
        assert len(destination.requests) == 3
        with pytest.raises(RuleWordError, match=r"is cancelled\. Only what is due or held can be cancelled"):
            find_for_cancel(folder, [rows[0].waiting.action.action_id])


async def test_what_failed_or_was_cancelled_is_sent_once_more_by_who_runs(tmp_path: Path) -> None:
    write_rule(tmp_path / "own", more="-- keep: ticket_id\n")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    failed, cancelled, unknown, _ = make_actions(
        folder, "failed 2", "cancelled 2", "unknown 2", "failed 2, retried 3, sent 4"
    )
    async with DestinationServer() as destination:
        async with following(folder, settings_of(folder, MINE_URL=destination.url)) as acts:
            by_rule, _ = find_for_retry(folder, ["mine"], acts.now)
            by_id, _ = find_for_retry(folder, [cancelled.action_id], acts.now)
            assert [row.waiting.action.action_id for row in by_rule] == [failed.action_id]
            with pytest.raises(RuleWordError, match="settle it first"):
                find_for_retry(folder, [unknown.action_id], acts.now)
            land_retries(folder, by_rule + by_id, acts.now)
            await acts.load(lambda: acts.states()[:2] == ["sent"] * 2)
        assert destination.handled == {failed.action_id: 1, cancelled.action_id: 1}
    assert folder.rows("select count(*) from action_links") == [(2,)]


async def test_two_people_who_retry_the_same_make_it_be_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_LAND_EVERY_S", HANG_S)  # what was sent is long not in the tables
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    first, second = make_actions(folder, "failed 2", "failed 2")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await act_on(settings, folder, [], lambda: NAMED_AT)
        async with following(folder, settings) as acts:
            rows, _ = find_for_retry(folder, ["mine"], acts.now)
            one = [row for row in rows if row.waiting.action.action_id == first.action_id]
            land_retries(folder, one, acts.now)
            await acts.load(lambda: first.action_id in destination.handled)
            land_retries(folder, rows, acts.now)
            await acts.load(lambda: second.action_id in destination.handled)
        assert destination.handled == {first.action_id: 1, second.action_id: 1}


async def test_a_retry_of_what_is_too_late_needs_its_id(tmp_path: Path) -> None:
    write_rule(tmp_path / "own", more="-- not after: happened_at\n")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    at = NAMED_AT + timedelta(hours=1)
    async with DestinationServer(faults=Faults(server_error=1.0)) as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await act_on(settings, folder, [], lambda: NAMED_AT)
        await act_on(settings, folder, call(1, 10), lambda: at)
        assert folder.rows("select state from actions") == [("expired",)]
        ((action_id,),) = folder.rows("select action_id from actions")
        assert find_for_retry(folder, ["mine"], at) == ([], 0)
        rows, _ = find_for_retry(folder, [action_id], at)
        land_retries(folder, rows, at)
        destination.faults = Faults()
        folder.sync(published_at=at)
        await act_on(settings, folder, [], lambda: at)
        assert destination.handled == {action_id: 1}


async def test_a_retry_in_time_is_not_sent_once_it_is_too_late(tmp_path: Path) -> None:
    text = """-- A test.
--
-- action: http
-- once per: call_id
-- not after: late_at
select call_id, ended_at as happened_at, ended_at + interval 1 hour as late_at
from calls where ended_at is not null
"""
    write_rule(tmp_path / "own", text)
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    at = NAMED_AT + timedelta(minutes=5)
    async with DestinationServer(SECRET) as destination:
        settings = settings_of(folder, MINE_URL=destination.url)  # unsigned, so it is refused
        await act_on(settings, folder, [], lambda: NAMED_AT)
        await act_on(settings, folder, call(1, 10), lambda: at)
        assert folder.rows("select state from actions") == [("failed",)]
        rows, _ = find_for_retry(folder, ["mine"], at)
        land_retries(folder, rows, at)
        folder.sync(published_at=at)
        refused = destination.refused
        await act_on(settings, folder, [], lambda: at + timedelta(hours=2))
        assert destination.refused == refused
    assert folder.rows("select state from actions") == [("expired",)]


def test_a_call_is_asked_about_in_the_round_in_which_it_began(tmp_path: Path) -> None:
    folder = acting(tmp_path / "data")
    (action,) = make_actions(folder, "", rule="ring", kind="dial")
    rounds = (("started", "1"), ("failed", None), ("retried", None), ("started", "2"), ("retried", None))
    steps = [
        step_of(action, as_step(step), number, NAMED_AT, cause=cause)
        for number, (step, cause) in enumerate(rounds, 2)
    ]
    land_steps(folder.landing, "ring-later", enumerate(steps))
    folder.sync()
    assert folder.rows("select last_step, round, state from stored.actions") == [("started", 2, "due")]


async def test_a_call_that_is_settled_as_not_made_is_dialled_once_more_with_an_id_of_its_own(
    tmp_path: Path, api: ApiServer
) -> None:
    write_rule(tmp_path / "own", RING, name="ring")
    folder = acting(tmp_path / "data", "ring", own=tmp_path / "own")
    folder.land(call(0, -900))
    folder.land(call(1, -900))
    made, not_made = make_actions(
        folder, "started 2, unknown 3", "started 2, unknown 3", rule="ring", kind="dial"
    )
    settings = settings_of(folder, api_url=api.url, api_key=SecretStr(api.api_key), api_rps=10_000)
    async with following(folder, settings) as acts:
        for action, outcome in ((made, "sent"), (not_made, "failed")):
            row = find_for_settling(folder, action.action_id)
            land_settled(folder, row, outcome, acts.now)  # type: ignore[arg-type]
        await acts.load(lambda: acts.states() == ["sent", "failed"])
        with pytest.raises(RuleWordError, match=r"is sent\. Only what is unknown can be settled"):
            find_for_settling(folder, made.action_id)
        rows, _ = find_for_retry(folder, ["ring"], acts.now)
        land_retries(folder, rows, acts.now)
        await acts.load(lambda: acts.states() == ["sent", "sent"])
    assert api.dials.by_call_id == {call_id_of(not_made, 2): 1}


async def test_a_rule_is_fired_for_what_happened_on_some_days_once(tmp_path: Path) -> None:
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    folder.land([body for day in range(4) for body in call(day, -86_400 * day - 100)])
    begins_at = datetime(2025, 11, 7, tzinfo=UTC)
    ends_at = datetime(2025, 11, 9, tzinfo=UTC)
    async with DestinationServer() as destination:
        async with following(folder, settings_of(folder, MINE_URL=destination.url)) as acts:
            fired = find_for_firing(folder, "mine", begins_at, ends_at, acts.now)
            assert [each.call_id for each in fired.wanted] == ["call-2", "call-1"]
            land_fired(folder, fired, acts.now)
            # also before the tables know of it
            assert not find_for_firing(folder, "mine", begins_at, ends_at, acts.now).wanted
            await acts.load(lambda: acts.states() == ["sent"] * 2)
            assert not find_for_firing(folder, "mine", begins_at, ends_at, acts.now).wanted
        assert list(destination.handled.values()) == [1, 1]


def test_a_rule_that_is_off_or_unknown_is_not_fired(tmp_path: Path) -> None:
    folder = acting(tmp_path / "data")
    folder.sync()
    with pytest.raises(RuleWordError, match="The rule callbacks is off"):
        find_for_firing(folder, "callbacks", NAMED_AT, NAMED_AT, NAMED_AT)
    with pytest.raises(RuleWordError, match=r"There is no rule callback\. There are: .*callbacks"):
        find_for_firing(folder, "callback", NAMED_AT, NAMED_AT, NAMED_AT)
