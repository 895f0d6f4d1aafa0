"""A 403 is a failure of its call; only where nothing is answered it is the key that is wrong."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr
from support.data_folder import NOON_US, DataFolder, body
from support.oracle import ANALYSED, ENDED

from connector.settings import Settings
from connector.verbex.answer import NotAuthorizedError
from pipelines.enrichment.fetch import fetch_all


@dataclass
class Api:
    """A Verbex that answers 403 for some agents' analyses, or for everything."""

    forbidden_agents: set[str] = field(default_factory=set)
    is_all_forbidden: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def pca(self, request: web.Request) -> web.Response:
        """Answer with one item."""
        self.asked.append(request.path)
        if self.is_all_forbidden or request.match_info["agent"] in self.forbidden_agents:
            return web.json_response({"detail": "the agent belongs to another workspace"}, status=403)
        return web.json_response({"items": [{"type": "string", "name": "note", "result": "x"}]})

    async def call(self, request: web.Request) -> web.Response:
        """Answer with details."""
        self.asked.append(request.path)
        if self.is_all_forbidden:
            return web.json_response({"detail": "not allowed"}, status=403)
        return web.json_response({"_id": request.match_info["call"], "messages": []})


@pytest.fixture
async def verbex() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_get("/v2/ai-agents/{agent}/postcall-analysis/results/{call}", api.pca)
    app.router.add_get("/v2/ai-agents/{agent}/postcall-analysis", api.pca)
    app.router.add_get("/v1/calls/{call}", api.call)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


def settings_of(folder: DataFolder, api: Api) -> Settings:
    key = SecretStr("a key")
    return Settings(_env_file=None, data_dir=folder.path, api_url=api.url, api_key=key, api_rps=10_000)


def land_calls(folder: DataFolder, agent_id: str, count: int, first_us: int) -> None:
    """Land ended calls of one agent whose analyses are announced."""
    names = [f"{agent_id}-{number}" for number in range(count)]
    bodies = [
        body(f"{name}-{kind}", kind, name, 0, agent_id=agent_id)
        for name in names
        for kind in (ENDED, ANALYSED)
    ]
    folder.land(bodies, received_at_us=first_us)


@pytest.mark.parametrize("agents_calls", [1, 100])
async def test_forbidden_calls_starve_no_others(tmp_path: Path, verbex: Api, agents_calls: int) -> None:
    """However many they are, and though they are due for longest."""
    folder = DataFolder(tmp_path / "data")
    land_calls(folder, "moved", agents_calls, NOON_US)
    land_calls(folder, "ours", 30, NOON_US + 3_600_000_000)
    await asyncio.to_thread(folder.sync)
    verbex.forbidden_agents = {"moved"}
    for _ in range(2):
        await asyncio.to_thread(fetch_all, settings_of(folder, verbex), folder)
        await asyncio.to_thread(folder.sync)
    assert folder.rows("select count(*), count(distinct agent_id) from pca") == [(30, 1)]
    assert folder.rows("select count(*) from call_details") == [(30 + agents_calls,)]
    refused = (
        "select state, last_http_status, count(*) from pca_fetches where agent_id = 'moved' group by all"
    )
    assert folder.rows(refused) == [("waiting", 403, agents_calls)]


async def test_a_key_that_is_not_allowed_anything_is_named_and_no_call_is_lost_by_it(
    tmp_path: Path, verbex: Api
) -> None:
    """The calls are fetched once the key is right, however long it was wrong."""
    folder = DataFolder(tmp_path / "data")
    land_calls(folder, "ours", 10, NOON_US)  # a year ago: long past the time to give up
    await asyncio.to_thread(folder.sync)
    verbex.is_all_forbidden = True
    for _ in range(6):
        with pytest.raises(NotAuthorizedError, match="VERBEX_API_KEY"):
            await asyncio.to_thread(fetch_all, settings_of(folder, verbex), folder)
    await asyncio.to_thread(folder.sync)
    assert folder.rows("select distinct state from pca_fetches") == [("waiting",)]
