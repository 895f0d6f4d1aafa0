"""A mart that fails, as Dagster, `sync` and follow mode show it: named, and in nobody else's way."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.data_folder import NOON_US, DataFolder, body, dagster_instance
from support.oracle import STARTED

from connector.settings import Settings
from pipelines.definitions import build_definitions
from pipelines.models.sql_file import sql_folder
from pipelines.names import LOAD_JOB, PUBLISHED
from pipelines.resources import WarehouseResource
from pipelines.runs.execute import PartlyPublishedError
from pipelines.runs.follower import Follower
from pipelines.runs.syncer import Syncer


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A folder with one landed call, a mart that fails, and one that reads it."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    (folder.sql_dir / "marts" / "broken.sql").write_text("select call_id::integer as number from calls")
    (folder.sql_dir / "marts" / "reader.sql").write_text("select count(*) as numbers from broken")
    land(folder, 0)
    return folder


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path) as instance:
        yield instance


def land(folder: DataFolder, number: int) -> None:
    folder.land([body(f"s{number}", STARTED, f"call-{number}", number)], received_at_us=NOON_US + number)


def settings_of(folder: DataFolder) -> Settings:
    return Settings(_env_file=None, data_dir=folder.path, api_key=None)


def definitions_of(folder: DataFolder) -> dg.Definitions:
    return build_definitions(settings_of(folder), WarehouseResource(folder))


def calls_in(folder: DataFolder) -> list[tuple[int, ...]]:
    return folder.rows("select count(*) from calls_enriched")


def test_a_run_fails_at_the_mart_and_publishes_every_other_table(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The mart's step failed, its reader's was skipped, and all others show as materialised."""
    job = definitions_of(folder).resolve_job_def(LOAD_JOB)
    for number in (1, 2):
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        failed = {event.step_key for event in result.all_events if event.is_step_failure}
        done = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}  # type: ignore[union-attr]
        assert "broken" in failed
        assert {model.name for model in folder.models} - done == {"broken", "reader"}
        assert calls_in(folder) == [(number,)]
        event = instance.get_latest_materialization_event(dg.AssetKey(PUBLISHED))
        assert event is not None
        land(folder, number)


def test_a_table_materialised_alone_publishes_nothing(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """As if it had not failed."""
    job = definitions_of(folder).resolve_implicit_global_asset_job_def()
    assets = [dg.AssetKey(name) for name in ("events", "broken")]
    job.execute_in_process(instance=instance, asset_selection=assets, raise_on_error=False)
    assert not folder.warehouse.published.exists()


def test_a_sync_does_everything_else_and_then_fails_with_the_reason(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """The exit code is that of a failed run, and the message names the file."""
    said: list[str] = []
    syncer = Syncer(settings_of(folder), definitions_of(folder), folder, instance)
    with pytest.raises(PartlyPublishedError, match=r"sql/marts/broken.sql failed") as caught:
        syncer.run(said.append)
    assert caught.value.exit_code == 1
    assert "All else is published" in str(caught.value)
    assert calls_in(folder) == [(1,)]
    assert "Verbex was not asked for what is due" in "\n".join(said) or not said


def test_follow_mode_goes_on_and_names_the_mart(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    """Every load publishes what is new, and says which table is as before."""
    said: list[str] = []
    follower = Follower(settings_of(folder), folder, instance, said.append)
    for number in (1, 2):
        follower.load_once()
        assert calls_in(folder) == [(number,)]
        land(folder, number)
    assert sum("sql/marts/broken.sql failed" in line for line in said) == 2
    assert sum("it reads broken" in line for line in said) == 2
    follower.report()


def test_a_run_whose_sql_cannot_be_read_fails_with_the_reason(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """A file that our queries need was removed while `dagster dev` runs: every step says so."""
    job = definitions_of(folder).resolve_job_def(LOAD_JOB)
    (folder.sql_dir / "marts" / "completeness_daily.sql").unlink()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    reasons = {
        event.step_failure_data.user_failure_data.description
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    }
    assert len(reasons) == 1
    assert "no model of the table completeness_daily" in str(reasons.pop())


def test_a_check_that_cannot_be_used_is_named_by_the_run_and_by_follow_mode(
    folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    """Every table is published all the same."""
    (folder.sql_dir / "marts" / "broken.sql").write_text("select 1 as number")
    (folder.sql_dir / "checks" / "no-negative.sql").write_text("-- A.\n--\n-- on: callz\nfrom calls")
    syncer = Syncer(settings_of(folder), definitions_of(folder), folder, instance)
    with pytest.raises(PartlyPublishedError, match=r"sql/checks/no-negative.sql"):
        syncer.run(lambda _: None)
    assert calls_in(folder) == [(1,)]
    land(folder, 1)
    said: list[str] = []
    Follower(settings_of(folder), folder, instance, said.append).load_once()
    assert calls_in(folder) == [(2,)]
    assert sum("sql/checks/no-negative.sql" in line for line in said) == 1
