"""Follow mode and the sensors: rows appear by themselves, and Dagster gets reports instead of runs."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
from pydantic import SecretStr
from support.data_folder import NOON_US, DataFolder, bodies_of, body, dagster_instance, settings_for
from support.deadline import HANG_S
from support.oracle import ANALYSED, ENDED, STARTED
from support.receiver import until

from connector.landing import compaction
from connector.landing.zones import ANSWER_SCHEMA, PCA
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.faults import Faults
from connector.simulator.world import World
from pipelines.definitions import build_definitions
from pipelines.models.sql_file import sql_folder
from pipelines.names import LOAD_JOB
from pipelines.resources import WarehouseResource
from pipelines.runs.background import BackgroundCompaction, CompactionError
from pipelines.runs.follower import Follower
from pipelines.warehouse.files import NothingPublishedError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def following(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run `verbex-sync sync --follow` in its own process."""
    command = [sys.executable, "-m", "pipelines.cli", "sync", "--follow"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER")}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def call_ids(folder: DataFolder) -> set[str]:
    try:
        return {call_id for (call_id,) in folder.rows("select call_id from calls")}
    except NothingPublishedError:
        return set()


async def test_what_lands_while_following_is_published_and_reported_to_dagster(
    folder: DataFolder, following: "subprocess.Popen[str]"
) -> None:
    """Rows appear without a command. At the end Dagster has the materialisations, with counts."""
    folder.land([body("a", STARTED, "call-a", 0)])
    await until(lambda: call_ids(folder) == {"call-a"})
    folder.land([body("b", STARTED, "call-b", 0)], received_at_us=NOON_US + 1)
    await until(lambda: call_ids(folder) == {"call-a", "call-b"})
    following.send_signal(signal.SIGTERM)
    said, _ = following.communicate(timeout=HANG_S)
    assert following.returncode == 0
    first, follows, *counts, last = said.splitlines()
    assert first.startswith("Loaded ")
    assert follows.startswith("Following: ")
    assert last == "Stopped."
    loaded = sum(int(each) for each in re.findall(r"Loaded (\d+) deliver", "\n".join([first, *counts])))
    assert loaded == 2
    with dg.DagsterInstance.from_config(str(folder.path / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("calls"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["dagster/row_count"].value == 2


def test_follow_mode_reports_every_change_and_the_results_of_checks_once(
    folder: DataFolder, tmp_path: Path
) -> None:
    """A check with the same result is not reported again, because that would fill Dagster's storage."""
    settings = Settings(data_dir=folder.path, api_key=None)
    with dagster_instance(tmp_path) as instance:
        follower = Follower(settings, folder, instance, print)
        for number in range(3):
            folder.land([body(f"trace-{number}", STARTED, f"call-{number}", number)])
            follower.load_once()
            follower.report()
        assert len(instance.fetch_materializations(dg.AssetKey("calls"), limit=10).records) == 3
        key = dg.AssetCheckKey(dg.AssetKey("calls"), "unique_grain")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        assert [bool(record.event) for record in history] == [True]
        assert not instance.fetch_materializations(dg.AssetKey("pca"), limit=10).records


def test_a_model_that_fails_is_reported_and_loads_continue_once_it_is_fixed(
    folder: DataFolder, tmp_path: Path
) -> None:
    """A mart with a mistake waits alone."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    mine = tmp_path / "sql" / "marts" / "mine.sql"
    settings, lines = Settings(data_dir=folder.path, api_key=None), list[str]()
    with dagster_instance(tmp_path) as instance:
        follower = Follower(
            settings, DataFolder(folder.path, sql_dir=tmp_path / "sql"), instance, lines.append
        )
        folder.land([body("a", STARTED, "call-a", 0)])
        follower.load_once()
        for mistake in ("select no_such_column from calls", "selec 1"):
            mine.write_text(mistake)
            folder.land([body(mistake, STARTED, f"call-{mistake}", 0)])
            seen = len(lines)
            follower.load_once()
            follower.report()
            assert "mine.sql" in "".join(lines[seen:])
            assert f"call-{mistake}" in call_ids(folder)
        mine.write_text("select count(*) as calls from calls")
        folder.land([body("c", STARTED, "call-c", 0)])
        follower.load_once()
        follower.report()
    assert folder.rows("from mine") == [(4,)]


class Tick(NamedTuple):
    """The result of a sensor: the runs that it requests, and its cursor."""

    runs: list[dg.RunRequest]
    cursor: str | None


def tick(folder: DataFolder, instance: dg.DagsterInstance, cursor: str | None = None) -> Tick:
    settings = Settings(data_dir=folder.path, api_key=None)
    definitions = build_definitions(settings)
    resources = {"warehouse": WarehouseResource.from_settings(settings)}
    with dg.build_sensor_context(
        instance=instance, definitions=definitions, resources=resources, cursor=cursor
    ) as context:
        result = definitions.resolve_sensor_def("new_landed_files").evaluate_tick(context)
    return Tick(list(result.run_requests or ()), result.cursor)


def test_the_sensor_requests_a_run_of_what_new_files_reach(folder: DataFolder, tmp_path: Path) -> None:
    """Webhook files reach events and all tables that read them, but not the fetched transcripts."""
    folder.land([body("a", STARTED, "call", 0)])
    with dagster_instance(tmp_path) as instance:
        (request,) = tick(folder, instance).runs
    reached = {key.to_user_string() for key in request.asset_selection or ()}
    assert {"events", "quarantine", "calls", "calls_enriched", "published_warehouse"} <= reached
    assert not {"call_messages", "pca_items"} & reached


def test_a_run_of_what_new_files_reach_publishes_every_table(folder: DataFolder, tmp_path: Path) -> None:
    """This includes the first run: tables that it does not name are built before they are read or shown."""
    folder.land([body("a", STARTED, "call", 0)])
    definitions = build_definitions(Settings(data_dir=folder.path, api_key=None))
    with dagster_instance(tmp_path) as instance:
        (request,) = tick(folder, instance).runs
        job = definitions.resolve_job_def(LOAD_JOB)
        assert job.execute_in_process(instance=instance, asset_selection=request.asset_selection).success
    assert folder.rows("select count(*) from call_messages") == [(0,)]
    assert call_ids(folder) == {"call"}


def test_the_sensor_requests_no_run_when_everything_is_published(folder: DataFolder, tmp_path: Path) -> None:
    """A run needs a reason."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    with dagster_instance(tmp_path) as instance:
        assert not tick(folder, instance).runs


def test_the_sensor_waits_for_a_run_that_starts_and_not_for_one_that_was_killed(
    folder: DataFolder, tmp_path: Path
) -> None:
    """A killed run stays unfinished in Dagster's records. Only a lock shows that a process still works."""
    folder.land([body("a", STARTED, "call", 0)])
    with dagster_instance(tmp_path) as instance:
        instance.add_run(dg.DagsterRun(LOAD_JOB, status=dg.DagsterRunStatus.STARTED))
        assert not tick(folder, instance).runs
        with closing(sqlite3.connect(tmp_path / "dagster_home" / "history" / "runs.db")) as runs:
            runs.execute("update runs set create_timestamp = datetime(create_timestamp, '-2 minutes')")
            runs.commit()
        with folder.warehouse.write():
            assert not tick(folder, instance).runs
        assert len(tick(folder, instance).runs) == 1


def test_the_sensor_does_not_repeat_a_load_that_skipped_the_same_files(
    folder: DataFolder, tmp_path: Path
) -> None:
    """A file that can't be read starts one run, not one at every tick."""
    folder.land([body("a", STARTED, "call", 0)])
    (broken,) = (folder.path / "landing").rglob("*.parquet")
    broken.write_bytes(b"PAR1 nothing")
    with dagster_instance(tmp_path) as instance:
        first = tick(folder, instance)
        assert len(first.runs) == 1
        assert not tick(folder, instance, first.cursor).runs


def test_status_of_the_published_tables_is_one_row(folder: DataFolder) -> None:
    """A BI tool can show it at the top of a dashboard."""
    folder.land([body("a", STARTED, "call", 0), b"not an event"])
    folder.sync()
    (row,) = folder.records("from pipeline_status")
    assert (row["events"], row["quarantined"], row["calls"]) == (1, 1, 1)
    assert json.dumps(row, default=str)


async def test_a_wrong_key_is_reported_and_loads_continue(folder: DataFolder, tmp_path: Path) -> None:
    """A 401 stops the fetch and the message names the setting. What lands is still published."""
    folder.land([body("end", ENDED, "call-a", 0), body("pca", ANALYSED, "call-a", 1)])
    said: list[str] = []
    async with ApiServer(World.build(calls=7)) as api:
        settings = settings_for(folder, api, api_key=SecretStr("wrong"))
        with dagster_instance(tmp_path) as instance:
            follower = Follower(settings, folder, instance, said.append)
            following = asyncio.create_task(asyncio.to_thread(follower.run))
            try:
                await until(lambda: any("VERBEX_API_KEY" in line for line in said))
                folder.land([body("b", STARTED, "call-b", 0)], received_at_us=NOON_US + 1)
                await until(lambda: call_ids(folder) == {"call-a", "call-b"})
            finally:
                follower.stop()
                await following


class StoppedError(BaseException):
    """In place of Ctrl-C, which only a main thread hears."""


async def test_following_ends_at_once_even_while_it_asks(folder: DataFolder, tmp_path: Path) -> None:
    """It does not finish the fetch. What was answered is landed, and the rest stays due."""
    world = World.build(seed=4, calls=40)
    folder.land(bodies_of(world))
    folder.sync()

    def stop_at_load(line: str) -> None:
        if line.startswith("Loaded"):
            raise StoppedError

    def hang() -> None:
        if api.request_count() == 3:  # by which two are answered, since there is one at a time
            api.faults = Faults(slow=1, slow_s=10 * HANG_S)

    def follow() -> None:
        settings = settings_for(folder, api, api_concurrency=1)
        with dagster_instance(tmp_path) as instance:
            Follower(settings, folder, instance, stop_at_load).run()

    async with ApiServer(world) as api:
        api.on_request = hang
        following = asyncio.create_task(asyncio.to_thread(follow))
        await until(lambda: api.request_count() > 3)
        folder.land([body("b", STARTED, "call-b", 0)], received_at_us=NOON_US + 1)
        with pytest.raises(StoppedError):
            await asyncio.wait_for(following, HANG_S)
    landed = [folder.landing.read(file, ANSWER_SCHEMA) for file in folder.landing.list_files(PCA)]
    assert sum(table.num_rows for table in landed) == 3


def test_a_crowded_day_is_merged_beside_follow_mode(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own; what fails is said, and the next one does the rest."""
    for number in range(4):
        folder.land([body(f"trace-{number}", STARTED, f"call-{number}", number)])
    background = BackgroundCompaction(folder.landing)
    background.start_if_crowded()
    assert background.process is None
    monkeypatch.setattr(compaction, "MAX_SMALL_FILES", 3)
    monkeypatch.setattr(compaction, "__name__", "no_such_module")
    background.start_if_crowded()
    assert background.process is not None
    background.process.wait(HANG_S)
    with pytest.raises(CompactionError, match="no_such_module"):
        background.start_if_crowded()
    monkeypatch.undo()
    number_of_files = compaction.MAX_SMALL_FILES + 1
    (source, *_) = (folder.path / "landing").glob("date=*/*.parquet")
    for number in range(number_of_files):
        shutil.copy(source, source.with_name(f"{source.stem}-{number}.parquet"))
    background.start_if_crowded()
    assert background.process is not None
    assert background.process.wait(HANG_S) == 0
    background.stop()
    assert not compaction.is_crowded(folder.landing)
