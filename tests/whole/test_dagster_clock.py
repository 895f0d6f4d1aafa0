"""A clock that was wrong for a minute: Dagster noted its time, and that stops none of our sensors."""

from datetime import timedelta
from logging import getLogger
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration
from support.data_folder import dagster_instance

TWO_DAYS_S = timedelta(days=2).total_seconds()


def states(instance: dg.DagsterInstance) -> list[InstigatorState]:
    return list(instance.all_instigator_state())


def ticks(instance: dg.DagsterInstance) -> dict[str, int]:
    """Return how often each sensor was evaluated."""
    return {
        state.instigator_name: len(instance.get_ticks(state.instigator_origin_id, state.selector_id))
        for state in states(instance)
    }


def test_sensors_are_evaluated_again_once_the_clock_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon compares the time of the last tick, which it stored, with the time of now."""
    monkeypatch.setenv("VERBEX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VERBEX_API_KEY", "k")
    target = ModuleTarget("pipelines.definitions", None, str(Path(__file__).parents[2]), "ours")
    with (
        dagster_instance(tmp_path) as instance,
        create_test_daemon_workspace_context(target, instance) as context,
    ):

        def look() -> dict[str, int]:
            list(execute_sensor_iteration(context, getLogger(__name__), None, None))
            return ticks(instance)

        look()
        before = look()
        for state in states(instance):
            data = state.instigator_data
            assert isinstance(data, SensorInstigatorData)
            moved = data._replace(
                last_tick_timestamp=(data.last_tick_timestamp or 0) + TWO_DAYS_S,
                last_tick_start_timestamp=(data.last_tick_start_timestamp or 0) + TWO_DAYS_S,
            )
            instance.update_instigator_state(state.with_data(moved))
        after = look()
    assert {name: after[name] - before[name] for name in after} == {
        "new_landed_files": 1,
        "due_answers": 1,
        "crowded_landing": 1,
        "old_records": 1,
    }
