"""The order in which the actions of a rule go out."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipelines.actions.action import Action
from pipelines.actions.backlog import Backlog, Waiting

START = datetime(2025, 11, 9, 12, tzinfo=UTC)


def waiting(number: int, *, happened_s: int = 0, due_s: int = 0, lane: str | None = None) -> Waiting:
    happened_at = START + timedelta(seconds=happened_s)
    due_at = START + timedelta(seconds=due_s)
    action = Action(
        f"act_{number}", "r", "http", "{}", 1, None, happened_at, START, due_at, None, b"{}", lane=lane
    )
    return Waiting(action, due_at)


def take_all(backlog: Backlog, now: datetime) -> list[str]:
    taken = []
    while each := backlog.take(now):
        taken.append(each.action.action_id)
        backlog.settle(each)
    return taken


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from(["a", "b", None])), max_size=30
    )
)
def test_each_action_goes_out_once_and_those_of_a_lane_in_the_order_in_which_they_happened(
    rows: list[tuple[int, int, str | None]],
) -> None:
    backlog = Backlog()
    added = [
        waiting(number, happened_s=happened, due_s=due, lane=lane)
        for number, (happened, due, lane) in enumerate(rows)
    ]
    for each in added:
        backlog.add(each)
    taken = []
    for second in range(52):
        now = START + timedelta(seconds=second)
        taken += take_all(backlog, now)
    assert sorted(taken) == sorted(each.action.action_id for each in added)
    assert len(backlog) == 0
    happened = {each.action.action_id: each.action for each in added}
    for lane in ("a", "b"):
        times = [happened[each].happened_at for each in taken if happened[each].lane == lane]
        assert times == sorted(times)


def test_the_next_of_a_lane_waits_while_the_first_is_on_its_way_or_waits_to_be_tried_again() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.add(waiting(number, happened_s=number, lane="call"))
    backlog.add(waiting(9))
    first, other = backlog.take(START), backlog.take(START)
    assert first is not None
    assert other is not None
    assert {first.action.action_id, other.action.action_id} == {"act_0", "act_9"}
    first = first if first.action.lane else other
    assert backlog.take(START) is None
    later = START + timedelta(seconds=10)
    backlog.put_back(first, later)
    assert backlog.take(START) is None
    assert backlog.next_due_at() == later
    assert backlog.take(later) is first
    backlog.settle(first)
    assert take_all(backlog, later) == ["act_1", "act_2"]


def test_one_that_happened_earlier_but_came_later_goes_before_those_that_wait() -> None:
    backlog = Backlog()
    backlog.add(waiting(2, happened_s=2, due_s=5, lane="call"))
    backlog.add(waiting(1, happened_s=1, lane="call"))
    assert take_all(backlog, START + timedelta(seconds=9)) == ["act_1", "act_2"]


def test_an_action_that_is_hastened_goes_out_once() -> None:
    backlog = Backlog()
    one = waiting(1, due_s=60)
    backlog.add(one)
    backlog.hasten(one, START)
    assert take_all(backlog, START + timedelta(seconds=99)) == ["act_1"]
