"""A sync that is killed at any moment, or runs at the same time as another: tables stay whole and correct."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.comparison import assert_published_whole, assert_right, landed_deliveries
from support.data_folder import NOON_US, DataFolder, bodies_of
from support.deadline import HANG_S
from test_files import held_open

from connector.landing.zones import PCA
from connector.simulator.world import World

SCRIPT = Path(__file__).parents[1] / "support" / "sync_process.py"
# A sync takes 1,700 to 3,000 steps. The last ones close the file and publish it.
MOST_STEPS = 4_000
LONGEST_DELAY_S = 0.03


class LandingWorld:
    """The deliveries of simulated calls, which land file by file, with an analysis after every third file."""

    def __init__(self, folder: DataFolder, rng: random.Random, calls: int) -> None:
        self._folder = folder
        self._rng = rng
        self._world = World.build(calls=calls)
        self._files = self._deal(bodies_of(self._world))
        self._landed = 0

    def land_next(self) -> bool:
        """Land the next file. Return whether there was one."""
        bodies = next(self._files, None)
        if bodies is None:
            return False
        at_us = NOON_US + self._rng.randrange(3_600) * 1_000_000
        self._folder.land(bodies, received_at_us=at_us)
        self._landed += 1
        if self._landed % 3 == 0:
            call = self._rng.choice(self._world.calls)
            answer = json.dumps(self._world.pca_answer(call)).encode()
            self._folder.land_answers(PCA, [{"call_id": call.call_id, "body": answer}])
        return True

    def _deal(self, bodies: list[bytes]) -> Iterator[list[bytes]]:
        """Yield files of a few bodies each. One body is a duplicate, and one is no event."""
        for start in range(0, len(bodies), 6):
            yield [*bodies[start : start + 6], self._rng.choice(bodies[: start + 1]), b"no event"]


def sync_until_killed(folder: DataFolder, landing_world: LandingWorld, rng: random.Random) -> None:
    """Let a process sync and kill itself at a random step, after a random delay, while files land."""
    delay_s = rng.choice([0.0, rng.uniform(0, LONGEST_DELAY_S)])
    refresh = rng.choices(["", "refresh"], weights=[3, 1])[0]
    arguments = [str(folder.path), str(rng.randint(1, MOST_STEPS)), str(delay_s), refresh]
    has_reader = rng.random() < 0.25
    with ExitStack() as stack:
        if has_reader and folder.warehouse.published.exists():
            stack.enter_context(held_open(folder.warehouse.published))
        process = stack.enter_context(subprocess.Popen([sys.executable, str(SCRIPT), *arguments]))
        for _ in range(3):
            landing_world.land_next()
            try:
                process.wait(timeout=rng.uniform(0, 0.5))
            except subprocess.TimeoutExpired:
                continue
        assert process.wait(HANG_S) == -signal.SIGKILL, f"killed with {arguments}"


def survive(tmp_path: Path, *, kills: int, seed: int) -> None:
    """Kill syncs, then sync once, and compare the tables with the oracle's and with those of a rebuild."""
    folder, rng = DataFolder(tmp_path), random.Random(seed)
    landing_world = LandingWorld(folder, rng, calls=kills * 8)
    published: set[str] = set()
    for _ in range(kills):
        sync_until_killed(folder, landing_world, rng)
        before, published = published, assert_published_whole(folder)
        assert before <= published
    folder.sync()
    assert_right(folder, landed_deliveries(folder.landing))
    tables = folder.tables()
    assert all(tables[name] for name in ("events", "calls", "pca_items", "quarantine", "agent_daily"))
    folder.sync(is_full_refresh=True)
    assert folder.tables() == tables
    assert len(folder.warehouse_files()) <= 3


def test_a_few_kills_leave_tables_that_a_rebuild_gives(tmp_path: Path) -> None:
    """SIGKILL at random steps while files land: readers see whole tables, and the next sync does the rest."""
    survive(tmp_path, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_kills_leave_tables_that_a_rebuild_gives(tmp_path: Path, seed: int) -> None:
    """The same with 48 kills in total, each at another moment."""
    survive(tmp_path, kills=12, seed=seed)


def test_two_syncs_started_at_once_follow_each_other(tmp_path: Path) -> None:
    """Both processes succeed, and the tables are those of one sync."""
    folder = DataFolder(tmp_path)
    folder.land(bodies_of(World.build(calls=40)))
    processes = [subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)]) for _ in range(2)]
    assert [process.wait(HANG_S) for process in processes] == [0, 0]
    assert_right(folder, landed_deliveries(folder.landing))
    tables = folder.tables()
    folder.sync(is_full_refresh=True)
    assert folder.tables() == tables
