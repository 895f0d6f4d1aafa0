"""A loop that lives for months: a fault is one line, and the loop continues once the fault is gone."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from support.command import inherited
from support.data_folder import NOON_US, DataFolder, body, dagster_instance
from support.deadline import HANG_S
from support.disk import mount, mounted
from support.oracle import STARTED
from support.receiver import until

from connector.settings import Settings
from pipelines.instance.home import make_home, open_instance
from pipelines.models.sql_file import sql_folder
from pipelines.runs import follower as following
from pipelines.runs.follower import Follower
from pipelines.runs.syncer import open_syncer

Undo = Callable[[], object]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    shutil.copytree(sql_folder(), tmp_path / "sql")
    return DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")


def land(folder: DataFolder, number: int) -> None:
    event = body(f"trace-{number}", STARTED, f"call-{number}", 0)
    folder.land([event], received_at_us=NOON_US + number)


def spoil_sql(folder: DataFolder) -> Undo:
    mine = folder.sql_dir / "marts" / "mine.sql"
    mine.write_bytes(b"select \xff from calls")
    return mine.unlink


def lose_landing(folder: DataFolder) -> Undo:
    landing, away = folder.path / "landing", folder.path / "away"
    landing.rename(away)
    landing.write_text("a file where the folder should be")

    def undo() -> None:
        landing.unlink()
        away.rename(landing)

    return undo


def lose_the_warehouse(folder: DataFolder) -> Undo:
    warehouse, away = folder.path / "warehouse", folder.path / "away"
    warehouse.rename(away)
    warehouse.write_text("a file where the folder should be")

    def undo() -> None:
        warehouse.unlink()
        away.rename(warehouse)

    return undo


@pytest.mark.parametrize("spoil", [spoil_sql, lose_landing, lose_the_warehouse])
async def test_a_fault_costs_fresh_rows_and_not_the_process(
    folder: DataFolder, tmp_path: Path, spoil: Callable[[DataFolder], Undo]
) -> None:
    """Whatever the error, it is one line; nothing needs to be typed once it is gone."""
    lines: list[str] = []
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    land(folder, 0)
    folder.sync()
    with dagster_instance(tmp_path) as instance:
        follower = Follower(settings, folder, instance, lines.append)
        following_on = asyncio.create_task(asyncio.to_thread(follower.run))
        undo = spoil(folder)
        if (folder.path / "landing").is_dir():
            land(folder, 1)
        await until(lambda: bool(lines) or following_on.done())
        assert not following_on.done()
        undo()
        land(folder, 2)
        await until(lambda: "call-2" in call_ids(folder) or following_on.done())
        follower.stop()
        await following_on
    assert "call-2" in call_ids(folder)
    assert all("\n" not in line for line in lines)


async def test_reports_that_fail_stop_no_load(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's home may go away while the loop runs."""
    monkeypatch.setattr(following, "_REPORT_EVERY_S", 0.01)
    lines: list[str] = []
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    with dagster_instance(tmp_path) as instance:
        monkeypatch.setattr(instance, "report_runless_asset_event", fail)
        follower = Follower(settings, folder, instance, lines.append)
        following_on = asyncio.create_task(asyncio.to_thread(follower.run))
        land(folder, 0)
        await until(lambda: any("report to Dagster failed" in line for line in lines))
        land(folder, 1)
        await until(lambda: call_ids(folder) == {"call-0", "call-1"} or following_on.done())
        follower.stop()
        await following_on
    assert call_ids(folder) == {"call-0", "call-1"}


def test_a_file_that_can_be_read_again_is_loaded_without_anything_new_landing(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store that was away for a moment must not leave rows waiting for the next delivery."""
    monkeypatch.setattr(following, "_FIRST_RETRY_S", 0.0)
    land(folder, 0)
    (landed,) = (folder.path / "landing").rglob("*.parquet")
    good = landed.read_bytes()
    landed.write_bytes(b"x" * len(good))
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    with dagster_instance(tmp_path) as instance:
        follower = Follower(settings, folder, instance, print)
        follower.load_once()
        assert call_ids(folder) == set()
        landed.write_bytes(good)
        follower.load_once()
    assert call_ids(folder) == {"call-0"}


async def test_a_first_load_that_fails_is_tried_again(folder: DataFolder, tmp_path: Path) -> None:
    """A service manager may start it while the store is away."""
    land(folder, 0)
    come_back = lose_landing(folder)
    command = [sys.executable, "-m", "pipelines.cli", "sync", "--follow"]
    environment = inherited() | {"VERBEX_DATA_DIR": str(folder.path)}
    output = tmp_path / "output"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        await until(lambda: "The first load failed" in output.read_text() or process.returncode is not None)
        come_back()
        await until(lambda: bool(call_ids(folder)) or process.returncode is not None)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANG_S) == 0, output.read_text()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert call_ids(folder) == {"call-0"}


@pytest.mark.parametrize("damaged", ["dagster.yaml", "events/event_log.db", "history/runs.db"])
def test_a_damaged_dagster_home_is_named_and_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    """Its records are missing then, and nothing else is."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    damage(tmp_path / "data" / "dagster", damaged)
    with open_instance(tmp_path / "data", tmp_path / ".env") as instance:
        assert instance.get_runs() == []
    assert "Dagster's home can't be used" in caplog.text


def test_a_sync_with_a_damaged_dagster_home_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs are kept in memory."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    folder = DataFolder(tmp_path / "data")
    land(folder, 0)
    damage(folder.path / "dagster", "events/event_log.db")
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    with open_syncer(settings, tmp_path / ".env") as syncer:
        syncer.run(print)
    assert call_ids(folder) == {"call-0"}


@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_a_sync_whose_dagster_home_cannot_be_written_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The home can be read as before, so nothing fails before the first record is written."""
    home, folder = tmp_path / "home", DataFolder(tmp_path / "data")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    land(folder, 0)
    settings = Settings(_env_file=None, data_dir=folder.path, api_key=None)
    with mounted(home, "size=8m"):
        make_home(home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.get_asset_keys()
        if fault == "read-only":
            mount(home, "remount,ro")
        else:
            fill(home)
        with open_syncer(settings, tmp_path / ".env") as syncer:
            syncer.run(print)
    assert call_ids(folder) == {"call-0"}
    assert "Dagster's home can't be used" in caplog.text


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def damage(home: Path, name: str) -> None:
    """Make a home as our commands do, and spoil one of its files."""
    make_home(home)
    with dg.DagsterInstance.from_config(str(home)):
        pass
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_bytes(b"neither YAML: [ nor a database" * 300)


def call_ids(folder: DataFolder) -> set[str]:
    """The calls that are published; none while nothing is."""
    if not folder.warehouse.published.exists():
        return set()
    return {call_id for (call_id,) in folder.rows("select call_id from calls")}


def fail(*_: object) -> None:
    raise OSError("no space left on device")
