"""Rules in a sync and in follow mode: what they want goes out, and a rule that can't be used is named."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from support.acting import acting, call, later, settings_of, write_rule
from support.data_folder import DataFolder, dagster_instance
from support.receiver import until

from connector.settings import Settings
from connector.simulator.destination import DestinationServer
from pipelines.actions.pause import pause, resume
from pipelines.definitions import build_definitions
from pipelines.names import ACTION_CHECK
from pipelines.resources import WarehouseResource
from pipelines.runs.execute import PartlyPublishedError, RunFailedError
from pipelines.runs.follower import Follower
from pipelines.runs.syncer import Syncer


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path) as instance:
        yield instance


async def sync(folder: DataFolder, settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Do what `verbex-sync sync` does, and return what it says; its failure is the last line."""
    said: list[str] = []
    syncer = Syncer(settings, build_definitions(settings, WarehouseResource(folder)), folder, instance)
    try:
        await asyncio.to_thread(syncer.run, said.append)
    except RunFailedError as error:
        said.append(f"{type(error).__name__}: {error}")
    return said


async def test_a_sync_sends_what_is_new_once_and_names_a_rule_that_can_not_be_used(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """The tables go on, the other rule too, and the command fails as it does for any broken model."""
    write_rule(tmp_path / "own")
    broken = write_rule(
        tmp_path / "own", name="broken", text="-- A.\n--\n-- action: http\nselect 1 frm calls"
    )
    folder = acting(tmp_path / "data", "mine", "broken", own=tmp_path / "own")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        first = await sync(folder, settings, instance)
        assert first[-1].startswith(PartlyPublishedError.__name__)
        assert str(broken) in first[-1]
        folder.land([body for number in (1, 2) for body in call(number, later(-60))])
        pause(folder.path, datetime.now(UTC))
        assert any("Actions are paused" in line for line in await sync(folder, settings, instance))
        assert resume(folder.path)
        broken.unlink()
        write_rule(tmp_path / "own", name="broken")
        second = await sync(folder, settings, instance)
        assert "Rule mine: 2 sent" in second
        assert not second[-1].startswith(PartlyPublishedError.__name__)
        assert folder.rows("select rule, state, count(*) from actions group by all") == [("mine", "sent", 2)]
        third = await sync(folder, settings, instance)
        assert not [line for line in third if line.startswith("Rule ")]
        assert set(destination.handled.values()) == {1}
    assert len(destination.requests) == 2


async def test_follow_mode_sends_and_reports_the_asset_and_its_check(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """Without a run."""
    write_rule(tmp_path / "own")
    folder = acting(tmp_path / "data", "mine", own=tmp_path / "own")
    key = dg.AssetKey("actions_of_mine")
    async with DestinationServer() as destination:
        settings = settings_of(folder, MINE_URL=destination.url)
        await sync(folder, settings, instance)
        said: list[str] = []
        follower = Follower(settings, folder, instance, said.append)
        following = asyncio.create_task(asyncio.to_thread(follower.run))
        folder.land(call(1, later(-60)))
        await until(lambda: bool(destination.handled))
        follower.stop()
        await following
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.run_id == ""
    assert event.asset_materialization.metadata["sent"].value == 1
    delay_s = event.asset_materialization.metadata["median_delay_s"].value
    assert isinstance(delay_s, float)
    assert delay_s > 0
    assert instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(key, ACTION_CHECK)) is not None
    assert any("1 action" in line for line in said)
