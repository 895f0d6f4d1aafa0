"""A fetching process that is killed at any moment: no stored answer is lost or asked for again."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.deadline import HANG_S
from support.fetch_process import landed_rows

from connector.landing.files import Landing
from connector.simulator.api import ApiServer
from connector.simulator.world import World

SCRIPT = Path(__file__).parents[1] / "support" / "fetch_process.py"


def count_down(requests: int, reached: asyncio.Event) -> Callable[[], None]:
    """Return a hook that sets `reached` at the given request."""
    left = iter(range(requests - 1, -1, -1))

    def note() -> None:
        if next(left, None) == 0:
            reached.set()

    return note


async def run_until_killed(api: ApiServer, arguments: list[str], requests: int) -> bool:
    """Run a fetching process until it ends or has sent `requests`, and return whether it ended by itself."""
    reached = asyncio.Event()
    api.on_request = count_down(requests, reached)
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), *arguments)
    ended, killing = asyncio.create_task(process.wait()), asyncio.create_task(reached.wait())
    await asyncio.wait((ended, killing), return_when=asyncio.FIRST_COMPLETED, timeout=HANG_S)
    killing.cancel()
    if not ended.done():
        process.kill()
    return await ended == 0


async def kill_until_done(tmp_path: Path, rng: random.Random, calls: int, most_requests: int) -> int:
    """Kill the process again and again until one has fetched all. Check the result, and return the kills."""
    landing, wanted_file = Landing(str(tmp_path / "landing")), tmp_path / "wanted.json"
    kills, asked_while_stored = 0, 0
    async with ApiServer(World.build(calls=calls)) as api:
        wanted = [call for call in api.world.calls if call.has_results]
        wanted_file.write_text(json.dumps([[call.call_id, call.agent.agent_id] for call in wanted]))
        arguments = [api.url, str(tmp_path / "landing"), str(wanted_file)]
        while True:
            stored = Counter(call_id for call_id, _ in landed_rows(landing))
            first_request = len(api.requests)
            is_done = await run_until_killed(api, arguments, rng.randint(1, most_requests))
            asked = {request.path.rpartition("/")[2] for request in api.requests[first_request:]}
            asked_while_stored += len(asked & stored.keys())
            if is_done:
                break
            kills += 1
        bodies = dict(rows := landed_rows(landing))
        assert {call.call_id: api.world.pca_answer(call) for call in wanted} == {
            call_id: json.loads(body) for call_id, body in bodies.items()
        }
    assert asked_while_stored == 0
    assert len(rows) == len(bodies)
    return kills


async def test_a_few_kills_lose_nothing_and_ask_nothing_twice(tmp_path: Path) -> None:
    """After SIGKILLs at random requests, every answer is landed once, and no landed call was asked again."""
    assert await kill_until_done(tmp_path, random.Random(4), calls=120, most_requests=60) >= 2


@pytest.mark.slow
async def test_many_kills_lose_nothing_and_ask_nothing_twice(tmp_path: Path) -> None:
    """This is the same test with fifty kills or more."""
    assert await kill_until_done(tmp_path, random.Random(5), calls=1500, most_requests=50) >= 50
