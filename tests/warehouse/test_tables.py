"""The tables against the truth: they must have what was delivered, for any order of deliveries."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_folder import NOON, NOON_US, DataFolder, bodies_of, body
from support.oracle import ANALYSED, ENDED, STARTED, TRANSFERRED, Received, expected_calls, expected_events

from connector.simulator.truth import Truth
from connector.simulator.world import World
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.session import open_session
from pipelines.warehouse.sources import source_of

SEED_FOLDER = Path(__file__).parents[1] / "data" / "seed"


def keyed(records: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    assert len({record[key] for record in records}) == len(records)
    return {record[key]: record for record in records}


def assert_right(folder: DataFolder, deliveries: list[Received]) -> None:
    """Check that events and calls are those that the oracle expects."""
    events = expected_events(deliveries)
    shown = folder.records("from events")
    assert keyed(shown, "trace_id") == events
    calls = folder.records("from calls")
    assert keyed(calls, "call_id") == expected_calls(events.values())


def test_verbexs_own_examples_of_events_are_shown_correctly(tmp_path: Path) -> None:
    """Their times are exact to the microsecond, and their bodies are unchanged."""
    folder = DataFolder(tmp_path)
    bodies = {path.stem: path.read_bytes() for path in sorted(SEED_FOLDER.glob("*.json"))}
    folder.land(bodies.values())
    folder.sync()
    assert {row[0].encode() for row in folder.rows("select body from events")} == set(bodies.values())
    assert folder.rows(
        "select call_id, status, started_at::varchar from calls where started_at is not null"
    ) == [("6910366f2dc3a75642b5a4c0", "in_progress", "2025-11-09 06:36:35.245655+00")]
    assert folder.rows(
        "select announced_at::varchar, reason from events where event_name = 'callAnalysis.pcaCompleted'"
    ) == [("2025-11-03 06:58:12.42+00", "success")]


def test_every_event_is_there_exactly_once_byte_for_byte(tmp_path: Path) -> None:
    """With duplicates, disorder and unknown events, each traceId has one row with its exact body."""
    folder, world = DataFolder(tmp_path), World.build(calls=60)
    folder.land(bodies_of(world))
    folder.sync()
    stored = {trace_id: body.encode() for trace_id, body in folder.rows("select trace_id, body from events")}
    assert stored == Truth.of(world).bodies


def test_every_call_is_shown_as_it_was(tmp_path: Path) -> None:
    """The times, status and PCA status of each call are those of the simulated account."""
    folder, world = DataFolder(tmp_path), World.build(calls=60)
    folder.land(bodies_of(world))
    folder.sync()
    calls = folder.rows(
        "select call_id, status, pca_status, epoch_us(started_at), epoch_us(ended_at), "
        "epoch_us(transferred_at), transfer_to, epoch_us(pca_completed_at), event_count from calls"
    )
    assert {row[0]: row[1:] for row in calls} == {
        call.call_id: (
            call.status,
            call.pca_state,
            call.started_us,
            call.ended_us,
            call.transferred_us,
            call.transfer_to,
            call.pca_completed_us,
            call.event_count,
        )
        for call in Truth.of(world).calls.values()
    }


def test_a_sync_after_every_tenth_delivery_gives_the_same_tables_as_one(tmp_path: Path) -> None:
    """Many small syncs give the same as a single one."""
    often, once = DataFolder(tmp_path / "often"), DataFolder(tmp_path / "once")
    bodies = bodies_of(World.build(calls=20))
    times_us = [NOON_US + number * 1_000_000 for number in range(len(bodies))]
    for start in range(0, len(bodies), 10):
        often.land(bodies[start : start + 10], received_at_us=times_us[start : start + 10])
        often.sync()
    once.land(bodies, received_at_us=times_us)
    once.sync()
    assert often.tables() == once.tables()


def test_a_full_refresh_changes_nothing(tmp_path: Path) -> None:
    """A rebuild from landing gives the same tables as many small syncs."""
    folder = DataFolder(tmp_path)
    bodies = bodies_of(World.build(calls=40))
    for start in range(0, len(bodies), 40):
        folder.land(bodies[start : start + 40], received_at_us=NOON_US + start * 1_000_000)
        folder.sync()
    before = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == before


def test_a_body_that_is_no_event_is_in_quarantine_with_the_reason(tmp_path: Path) -> None:
    """A body that can't be read is kept where users see it, and other bodies are not affected."""
    folder = DataFolder(tmp_path)
    folder.land([b"\xff\xfe", b'{"traceId":"t"}', *bodies_of(World.build(calls=7))])
    folder.sync()
    quarantined = folder.rows("select body, problem from quarantine order by sequence")
    assert [body for body, _ in quarantined] == [b"\xff\xfe", b'{"traceId":"t"}']
    assert all(problem for _, problem in quarantined)
    assert folder.rows("select count(*) > 0 from events") == [(True,)]


def test_a_late_start_does_not_reopen_a_completed_call(tmp_path: Path) -> None:
    """A CallStarted that arrives after the end only adds the start."""
    folder = DataFolder(tmp_path)
    folder.land([body("end", ENDED, "c", 100)])
    folder.sync()
    folder.land([body("start", STARTED, "c", 40)], received_at_us=NOON_US + 60_000_000)
    folder.sync()
    assert folder.rows("select status, duration_s from calls") == [("completed", 60.0)]


def test_a_late_end_finds_its_call_behind_everything_that_came_since(tmp_path: Path) -> None:
    """There are so many calls that DuckDB skips most of them. Still the oldest one gets its end."""
    folder = DataFolder(tmp_path)
    ids = [f"{0x6910366F + number:08x}2dc3a75642b5a4c0" for number in range(130_000)]
    folder.land(
        (body(f"start-{number}", STARTED, call_id, number) for number, call_id in enumerate(ids)),
        received_at_us=range(NOON_US, NOON_US + len(ids)),
    )
    folder.sync()
    late = [body("late", ENDED, ids[0], 60), body("new", STARTED, "6a0000002dc3a75642b5a4c0", 200_000)]
    folder.land(late, received_at_us=NOON_US + 200_000_000_000)
    folder.sync()
    completed = folder.rows("select call_id, duration_s from calls where status = 'completed'")
    assert completed == [(ids[0], 60.0)]
    assert folder.rows("select count(*), count(distinct call_id) from calls") == [(130_001, 130_001)]
    assert folder.rows("select count(*), count(distinct trace_id) from events") == [(130_002, 130_002)]


def test_a_redelivery_is_counted_and_leaves_its_call_alone(tmp_path: Path) -> None:
    """A duplicate of an event changes nothing in its call, so the call is not computed again."""
    folder = DataFolder(tmp_path)
    folder.land([body("start", STARTED, "c", 40)])
    folder.sync()
    folder.land([body("start", STARTED, "c", 40)], received_at_us=NOON_US + 60_000_000)
    with open_session(folder) as session:
        for model in session.models:
            if source_of(model):
                session.update(model)
        session.publish(NOON)
    assert folder.rows("select deliveries from events") == [(2,)]
    assert folder.rows("select count(*) from ops.pending_calls") == [(0,)]


def test_a_load_may_have_more_rows_than_duckdb_keeps_together_and_duplicates_too(tmp_path: Path) -> None:
    """For a load of any size, the tables are those of a rebuild."""
    folder = DataFolder(tmp_path)
    events = [body(f"event-{number}", STARTED, f"call-{number // 2}", number) for number in range(126_000)]
    for some in (events[:2_000], events[1_000:]):
        folder.land(some, received_at_us=range(NOON_US, NOON_US + len(some)))
        folder.sync()
    counts = folder.rows("select count(*), count(distinct trace_id), sum(deliveries) from events")
    assert counts == [(126_000, 126_000, 127_000)]
    assert folder.rows("select count(*), sum(event_count) from calls") == [(63_000, 126_000)]
    compared = compare_with_rebuild(folder)
    assert [each.table for each in compared if not each.is_equal] == []


names = st.sampled_from([STARTED, ENDED, TRANSFERRED, ANALYSED, "CallHandler.Unknown", "Service.New"])
bodies = st.builds(
    body,
    st.integers(1, 30).map("trace-{}".format),
    names,
    st.sampled_from([*(f"call-{n}" for n in range(20)), "6910366f2dc3a75642b5a4c0", None, None, None]),
    st.sampled_from([0, 1, 1, 2.5, 3.000001, 86_400]),
    status=st.sampled_from(["success", "error", None]),
    transfer_to=st.sampled_from([None, "+81312345678"]),
    timestamp=st.sampled_from([None, 1_762_600_000_420]),
)
received = st.builds(Received, st.integers(0, 4).map(lambda number: NOON_US + number), bodies)
# A sync costs the same for a few deliveries as for many: few examples, and each with a lot in it.
groups = st.lists(st.lists(received, min_size=10, max_size=40), min_size=1, max_size=3)


@settings(max_examples=4)
@given(groups=groups, seed=st.randoms(use_true_random=False))
def test_order_duplication_and_splitting_of_deliveries_never_matter(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[list[Received]],
    seed: random.Random,
) -> None:
    """Any split into syncs and any order give the same tables, and they are those of the oracle.

    The examples include one traceId with different bytes, equal and decreasing times, second ends, missing
    starts, and calls that only unknown events name.
    """
    deliveries = [delivery for group in groups for delivery in group]
    increments = DataFolder(tmp_path_factory.mktemp("increments"))
    for group in groups:
        increments.land([each.body for each in group], received_at_us=[each.at_us for each in group])
        increments.sync()
    assert_right(increments, deliveries)
    shuffled = deliveries.copy()
    seed.shuffle(shuffled)
    at_once = DataFolder(tmp_path_factory.mktemp("at_once"))
    at_once.land([each.body for each in shuffled], received_at_us=[each.at_us for each in shuffled])
    at_once.sync()
    tables = increments.tables()
    assert at_once.tables() == tables
