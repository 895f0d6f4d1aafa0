"""Dagster's own records: old ones are removed, each asset's last are kept, and the files stop growing."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.instance import retention
from pipelines.instance.home import EVENT_LOG, make_home, own_home
from pipelines.instance.retention import REPORTS_KEPT, forget_old_records

SUCCESS = (dg.DagsterRunStatus.SUCCESS,)
FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
TABLE = dg.AssetKey("table")
CHECK = dg.AssetCheckKey(TABLE, "rule")


@dg.asset(name="table", check_specs=[dg.AssetCheckSpec("rule", asset="table")])
def table() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Materialise a table with much metadata."""
    yield dg.MaterializeResult(metadata={"text": "x" * 50_000})
    yield dg.AssetCheckResult(passed=True)


@dg.asset
def rarely() -> None:
    """Materialise a table that almost never changes."""


@dg.asset
def broken() -> None:
    """Fail to materialise a table."""
    raise dg.Failure("broken", allow_retries=False)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a home that we made for the data folder `tmp_path`."""
    make_home(own_home(tmp_path))
    with dg.DagsterInstance.from_config(str(own_home(tmp_path))) as instance:
        yield instance


@pytest.fixture(autouse=True)
def few_runs_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RUNS_KEPT", {SUCCESS: 2, FAILED: 1})


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> str:
    return dg.materialize(assets, instance=instance, raise_on_error=False).run_id


def forget(instance: dg.DagsterInstance, data_dir: Path, *, later: timedelta = timedelta(0)) -> int:
    return forget_old_records(instance, data_dir, datetime.now(UTC) + later)


def event_log(data_dir: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(own_home(data_dir) / EVENT_LOG) as events:
        rows = events.execute(sql).fetchall()
    events.close()
    return rows


def test_the_newest_runs_are_kept_by_how_they_ended(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Many runs that succeeded do not displace a run that failed."""
    run(instance, broken)
    failed = run(instance, broken)
    succeeded = [run(instance, table) for _ in range(4)]
    assert forget(instance, tmp_path) == 3
    assert set(instance.get_run_ids()) == {failed, *succeeded[2:]}


def test_a_forgotten_run_leaves_nothing_behind(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """No events, no tags and no results of checks are left."""
    kept = [run(instance, table) for _ in range(5)][3:]
    forget(instance, tmp_path)
    for owned in ("event_logs", "asset_check_executions"):
        rows = event_log(tmp_path, f"select distinct run_id from {owned} order by run_id")  # noqa: S608
        assert [run_id for (run_id,) in rows] == sorted(kept)
    assert event_log(tmp_path, "select count(*) from asset_event_tags") == event_log(
        tmp_path, "select count(*) from asset_event_tags where event_id in (select id from event_logs)"
    )


def test_the_run_that_an_asset_was_last_made_by_is_kept(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Its age does not matter, so an asset that rarely changes is never shown as not materialised."""
    old = run(instance, rarely)
    for _ in range(4):
        run(instance, table)
    forget(instance, tmp_path)
    assert old in instance.get_run_ids()
    assert instance.get_latest_materialization_event(dg.AssetKey("rarely")) is not None


def test_reports_go_after_a_week_but_for_the_newest(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The last report of every asset and of every check is kept."""
    for number in range(3):
        instance.report_runless_asset_event(dg.AssetMaterialization(TABLE, metadata={"number": number}))
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=TABLE, check_name="rule", passed=True, metadata={"number": number}
            )
        )
    assert forget(instance, tmp_path, later=REPORTS_KEPT - timedelta(hours=1)) == 0
    forget(instance, tmp_path, later=REPORTS_KEPT + timedelta(hours=1))
    events = instance.fetch_materializations(TABLE, limit=10).records
    assert [event.asset_materialization.metadata["number"].value for event in events] == [2]  # type: ignore[union-attr]
    results = event_log(tmp_path, "select evaluation_event from asset_check_executions")
    assert len(results) == 1


def test_room_that_was_freed_is_used_again(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """The files stop growing once there is something to forget."""
    sizes = []
    for _ in range(12):
        run(instance, table)
        forget(instance, tmp_path)
        event_log(tmp_path, "pragma wal_checkpoint")
        sizes.append((own_home(tmp_path) / EVENT_LOG).stat().st_size)
    assert sizes[-1] - sizes[5] < 50_000  # a run that left no room would have taken more than that


def test_a_home_that_the_user_has_set_is_not_changed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """It may hold the runs of other projects."""
    for _ in range(5):
        run(instance, table)
    assert forget(instance, tmp_path / "elsewhere") == 0
    assert len(instance.get_run_ids()) == 5


def test_in_a_home_that_keeps_its_events_elsewhere_nothing_is_removed(tmp_path: Path) -> None:
    """Earlier versions made such homes, and a person may have changed ours. Commands work all the same."""
    own_home(tmp_path).mkdir(parents=True)
    (own_home(tmp_path) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    make_home(own_home(tmp_path))
    with dg.DagsterInstance.from_config(str(own_home(tmp_path))) as instance:
        runs = {run(instance, table) for _ in range(3)}
        assert forget(instance, tmp_path, later=REPORTS_KEPT) == 0
        assert set(instance.get_run_ids()) == runs
    assert not (own_home(tmp_path) / EVENT_LOG).exists()
