"""The simulated account: reproducible, in the documented shapes, and with the problems of a real one."""

import json
import re
from collections import Counter
from pathlib import Path
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.simulator.calls import Course
from connector.simulator.events import PCA_COMPLETED, QUOTA_REACHED
from connector.simulator.truth import Truth
from connector.simulator.world import World

DOCUMENTED = {"CallHandler.CallStarted", "CallHandler.CallEnded", PCA_COMPLETED}


def test_one_seed_gives_one_world() -> None:
    """Two builds with one seed have the same deliveries, byte for byte, and the same answers."""
    one, other = World.build(seed=7, calls=60), World.build(seed=7, calls=60)
    assert one.deliveries() == other.deliveries()
    assert Truth.of(one) == Truth.of(other)


def test_another_seed_gives_another_world() -> None:
    """Two seeds have no event in common."""
    one, other = (Truth.of(World.build(seed=seed)).bodies for seed in (1, 2))
    assert not one.keys() & other.keys()


@given(seed=st.integers(0, 10_000), calls=st.integers(7, 40))
@settings(max_examples=25)
def test_every_course_appears(seed: int, calls: int) -> None:
    """Even a small world has a transferred call, a call in progress, a call never announced, and so on."""
    assert {call.course for call in World.build(seed=seed, calls=calls).calls} == set(Course)


def test_bodies_have_the_documented_shape_and_order() -> None:
    """A body's fields have the documented order, with other fields only after the known ones."""
    for event in World.build(calls=200).events():
        body = json.loads(event.body)
        assert list(body) == ["organizationId", "traceId", "eventName", "timestamp", "payload"]
        assert UUID(body["traceId"]).version == 4
        if event.name in DOCUMENTED:
            assert list(body["payload"])[:3] == ["call_id", "agent_id", "status"]
        if event.name == PCA_COMPLETED:
            assert list(body["payload"])[3:5] == ["reason", "timestamp"]


def test_times_have_the_documented_precision() -> None:
    """Seconds have a fraction of up to eight digits, and a PCA's own time is in whole milliseconds."""
    digits = Counter[int]()
    for event in World.build(calls=200).events():
        fraction = re.search(rb'"timestamp":\d{10}\.(\d+),"payload"', event.body)
        assert fraction is not None
        digits[len(fraction[1])] += 1
        if event.name == PCA_COMPLETED:
            assert event.announced_us is not None
            assert abs(event.at_us - event.announced_us) < 1_000_000
    assert max(digits) == 8
    assert digits[6] > 50


def test_a_call_id_begins_with_the_second_of_its_start() -> None:
    """It is like a MongoDB ObjectId: 24 hex digits, of which the first eight are the time."""
    for call in World.build().calls:
        assert re.fullmatch("[0-9a-f]{24}", call.call_id)
        assert int(call.call_id[:8], 16) == call.started_us // 1_000_000


def test_headers_repeat_the_body_and_carry_nanoseconds() -> None:
    """The headers are as documented, with nine digits in the time."""
    event = next(World.build().events())
    headers = event.headers()
    assert headers["X-Webhook-Event"] == event.name
    assert headers["X-Webhook-Traceid"] == event.trace_id
    assert re.fullmatch(r"2025-11-10T\d\d:\d\d:\d\d\.\d{9}Z", headers["X-Webhook-Timestamp"])
    assert headers["User-Agent"] == "ReactorNetty/1.1.13"


def test_there_is_more_than_the_documentation_says() -> None:
    """There are undocumented event types and fields, and an event that is about no call."""
    events = list(World.build(calls=200).events())
    assert {event.name for event in events} > DOCUMENTED
    assert any(b'"region"' in event.body for event in events if event.name in DOCUMENTED)
    assert [event.call_id for event in events if event.name == QUOTA_REACHED] == [None]


def test_duplicates_and_disorder_come_at_the_rates_asked_for() -> None:
    """Duplicates are the same bytes again, and disorder delays events behind later ones."""
    world = World.build(calls=2000)
    plain = world.deliveries(duplicates=0, disorder=0)
    assert len(plain) == len({delivery.event.trace_id for delivery in plain})
    troubled = world.deliveries(duplicates=0.2, disorder=0.1)
    assert 1.17 < len(troubled) / len(plain) < 1.23
    late = sum(
        delivery.offset_s - (delivery.event.at_us - world.start_us) / 1e6 > 301 for delivery in troubled
    )
    assert 0 < late < 0.1 * len(troubled)


def test_losses_are_never_delivered() -> None:
    """The requested share of events is missing, and no event is added."""
    world = World.build(calls=1000)
    delivered = {delivery.event.trace_id for delivery in world.deliveries(losses=0.1)}
    events = list(world.events())
    assert 0.88 < len(delivered) / len(events) < 0.92
    assert delivered < {event.trace_id for event in events}


def test_revisions_announce_again_and_answer_differently() -> None:
    """A revised PCA has two announcements, and another answer after the second one."""
    world = World.build(calls=50, revisions=1)
    call = next(call for call in world.calls if call.revised_us)
    assert call.pca_us is not None
    announced = [event for event in world.events() if event.call_id == call.call_id and event.announced_us]
    assert len(announced) == 2
    assert world.pca_answer(call, call.pca_us) != world.pca_answer(call)
    assert not any(call.revised_us for call in World.build(calls=50).calls)


def test_agents_have_item_names_as_in_real_accounts() -> None:
    """There are Japanese names, a space at the end, a repeated name, and an agent with 60 items."""
    agents = World.build(agents=6).agents
    names = [[item.name for item in agent.items] for agent in agents]
    assert any("通話の要約" in of_one for of_one in names)
    assert any("Order ID " in of_one for of_one in names)
    assert any(of_one.count("Note") == 2 for of_one in names)
    assert any(len(of_one) == 60 for of_one in names)
    assert {item.type for agent in agents for item in agent.items} == {"string", "enum", "boolean", "number"}
    assert len({agent.agent_id for agent in agents}) == len({agent.name for agent in agents}) == 6


def test_the_truth_reads_back_as_written(tmp_path: Path) -> None:
    """A truth file holds every body byte for byte and every fact of every call."""
    truth = Truth.of(World.build(calls=50, revisions=0.2))
    truth.write(tmp_path / "truth.jsonl")
    assert Truth.read(tmp_path / "truth.jsonl") == truth


def test_the_truth_shows_each_course() -> None:
    """Status and PCA state follow from the webhooks, and unannounced PCAs still have items."""
    by_course = {call.course: call for call in Truth.of(World.build(calls=60)).calls.values()}
    assert by_course["normal"].pca_state == "ready"
    assert by_course["in_progress"].status == "in_progress"
    assert by_course["pca_failed"].pca_state == "failed"
    assert by_course["unannounced"].pca_state == "awaiting"
    assert by_course["unannounced"].pca_items
    assert by_course["without_pca"].pca_items == []
    assert by_course["start_missing"].started_us is None
    assert by_course["transferred"].transfer_to
