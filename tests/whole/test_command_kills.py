"""`verbex-sync sync`, once and in follow mode, with Dagster, as processes that are killed or run together.

Meanwhile events land and Verbex is asked. Afterwards every table equals a rebuild.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import pytest
from support.command import inherited
from support.comparison import assert_published_whole, assert_right, landed_deliveries
from support.data_folder import NOON_US, DataFolder, bodies_of, settings_for
from support.deadline import HANG_S
from support.receiver import until

from connector.simulator.api import ApiServer
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.system.lock import hold_lock
from pipelines.enrichment.fetch import fetch_all

SYNC = [sys.executable, "-m", "pipelines.cli", "sync"]
FOLLOW = [*SYNC, "--follow"]
LOAD_JOB = [sys.executable, "-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "load"]


class Field:
    """A folder in which commands run, and a simulated account whose deliveries land in it step by step."""

    def __init__(self, path: Path, api: ApiServer, rng: random.Random) -> None:
        self.folder = DataFolder(path / "data")
        self._path = path
        self._rng = rng
        self._bodies = bodies_of(api.world)
        self._environment = inherited()
        asking = {"API_URL": api.url, "API_KEY": api.api_key, "API_RPS": "1000"}
        self._environment |= {f"VERBEX_{name}": value for name, value in asking.items()}
        self._environment["DAGSTER_HOME"] = str(self.folder.path / "dagster")

    def land_some(self) -> None:
        """Land the next few deliveries in one file, one of them twice."""
        some, self._bodies = self._bodies[:12], self._bodies[12:]
        if some:
            at_us = NOON_US + self._rng.randrange(3_600) * 1_000_000
            self.folder.land([*some, self._rng.choice(some)], received_at_us=at_us)

    @contextmanager
    def running(self, command: list[str]) -> Iterator["subprocess.Popen[str]"]:
        """Run a command in the folder. At the end of the block it is killed if it has not ended."""
        with (
            (self._path / "log").open("ab") as log,
            subprocess.Popen(
                command,
                cwd=self._path,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    async def run_until_killed(self, command: list[str], longest_s: float) -> bool:
        """Kill a command at most `longest_s` after it began to write. Return whether it was killed."""
        with self.running(command) as process:
            self.land_some()
            await until(lambda: self.folder.warehouse.is_being_written() or process.poll() is not None)
            self.land_some()
            await asyncio.sleep(self._rng.uniform(0, longest_s))
            self.land_some()
            process.kill()
            return await asyncio.to_thread(process.wait) == -signal.SIGKILL

    def unfinished_runs(self) -> int:
        """Return how many runs Dagster shows as neither succeeded nor failed."""
        with dg.DagsterInstance.from_config(str(self.folder.path / "dagster")) as instance:
            return sum(not run.is_finished for run in instance.get_runs())

    def land_rest(self) -> None:
        """Land all that has not landed yet."""
        while self._bodies:
            self.land_some()

    async def finish(self) -> None:
        """Land the rest and sync once more, undisturbed."""
        self.land_rest()
        with self.running(SYNC) as process:
            assert await asyncio.to_thread(process.wait, HANG_S) == 0, (self._path / "log").read_text()

    def assert_right(self) -> None:
        """Check that the tables equal those of the oracle, and those of a rebuild from landing."""
        assert_right(self.folder, landed_deliveries(self.folder.landing))
        tables = self.folder.tables()
        assert all(tables[name] for name in ("events", "calls", "pca_items", "call_messages", "agent_daily"))
        assert self.folder.rows("select count(*) from calls where pca_status = 'ready'") == [(0,)]
        self.folder.sync(is_full_refresh=True)
        assert self.folder.tables() == tables


async def survive(path: Path, command: list[str], *, kills: int, longest_s: float, seed: int) -> None:
    """Kill the command at random moments, and check that readers see whole tables, which never go back."""
    async with ApiServer(World.build(calls=kills * 15)) as api:
        field = Field(path, api, random.Random(seed))
        published: set[str] = set()
        killed = 0
        for kill in range(kills):
            # Every second time Verbex gives no answer, so that not even the fastest machine ends before.
            api.faults = Faults(slow=kill % 2, slow_s=10 * HANG_S)
            killed += await field.run_until_killed(command, longest_s)
            before, published = published, assert_published_whole(field.folder)
            assert before <= published
        assert killed >= kills // 2
        api.faults = Faults()
        await field.finish()
        field.assert_right()
        assert field.unfinished_runs() == 0


async def test_a_few_kills_leave_tables_that_a_rebuild_gives(tmp_path: Path) -> None:
    """After SIGKILL while loading, asking or publishing, the next sync completes everything."""
    await survive(tmp_path, FOLLOW, kills=2, longest_s=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize(("command", "longest_s"), [(SYNC, 5), (FOLLOW, 10)], ids=["once", "following"])
async def test_many_kills_leave_tables_that_a_rebuild_gives(
    tmp_path: Path, command: list[str], longest_s: float, seed: int
) -> None:
    """The same with eighty kills in total."""
    await survive(tmp_path, command, kills=20, longest_s=longest_s, seed=seed)


@pytest.mark.parametrize("commands", [pytest.param([SYNC, LOAD_JOB, SYNC, LOAD_JOB], marks=pytest.mark.slow)])
async def test_syncs_dagster_and_follow_mode_share_one_folder(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    """Started together, they write one after the other. Each succeeds, and follow mode continues."""
    async with ApiServer(World.build(calls=40)) as api:
        field = Field(tmp_path, api, random.Random(4))
        field.land_some()
        with field.running(FOLLOW) as following:
            await until(field.folder.warehouse.published.exists)
            field.land_some()
            with ExitStack() as stack:
                processes = [stack.enter_context(field.running(command)) for command in commands]
                field.land_some()
                ends = [await asyncio.to_thread(process.wait, HANG_S) for process in processes]
            assert set(ends) == {0}, (tmp_path / "log").read_text()
            assert following.poll() is None
            following.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(following.wait, HANG_S) == 0
        field.land_rest()
        field.folder.sync()
        await asyncio.to_thread(fetch_all, settings_for(field.folder, api), field.folder)
        field.folder.sync()
        field.assert_right()
        with dg.DagsterInstance.from_config(str(field.folder.path / "dagster")) as instance:
            assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


@pytest.mark.slow
async def test_a_sync_that_can_not_write_names_the_process_that_does(tmp_path: Path) -> None:
    """After a minute it ends with exit code 1, and the message names the process."""
    async with ApiServer(World.build(calls=10)) as api:
        field = Field(tmp_path, api, random.Random(5))
        field.land_some()
        (field.folder.path / "warehouse").mkdir()
        with hold_lock(field.folder.path / "warehouse" / "writer.lock"), field.running(SYNC) as process:
            assert await asyncio.to_thread(process.wait, HANG_S) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert f"Process {os.getpid()} has been writing the warehouse for over 60 s. Nothing was changed." in line
