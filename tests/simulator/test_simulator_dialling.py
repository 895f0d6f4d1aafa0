"""Dialling at the simulated REST API: what is made, counted, refused, and known when."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.deadline import HANG_S

from connector.simulator.api import ApiServer
from connector.simulator.details import ACCESS_TOKEN_MARK
from connector.simulator.dialling import PATH
from connector.simulator.faults import Faults
from connector.simulator.run import SimulateOptions, SimulateReport, simulate
from connector.simulator.sender import SendOptions
from connector.simulator.world import DEFAULT_START

WANTED = {"from_number": "+81312345678", "to_number": "+819012345678", "direction": "outbound"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer simulated-key"}) as session:
        yield session


async def dial(http: aiohttp.ClientSession, api: ApiServer, **more: object) -> tuple[int, Any]:
    wanted = {name: value for name, value in {**WANTED, **more}.items() if value is not None}
    async with http.post(api.url + PATH, json=wanted) as answer:
        return answer.status, await answer.json()


async def get(http: aiohttp.ClientSession, api: ApiServer, call_id: str) -> tuple[int, Any]:
    async with http.get(f"{api.url}/v1/calls/{call_id}") as answer:
        return answer.status, await answer.json()


async def test_a_dialled_call_is_known_from_then_on(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """Under the id that it was asked for, with what was asked for, and in the list."""
    api.now_us = lambda: api.world.start_us
    status, made = await dial(http, api, call_id="ours", metadata={"case": 7})
    assert (status, made["_id"], made["call_status"]) == (201, "ours", "registered")
    assert made["access_token"].startswith(ACCESS_TOKEN_MARK)
    status, known = await get(http, api, "ours")
    assert status == 200
    assert {name: known[name] for name in WANTED} == WANTED
    assert known["metadata"] == {"case": 7}
    async with http.get(f"{api.url}/v1/calls/") as answer:
        assert "ours" in [call["_id"] for call in (await answer.json())["calls"]]


async def test_a_dialled_call_goes_on_and_ends(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """It follows the server's clock, as all calls do, and has an analysis in the end."""
    api.now_us = lambda: api.world.start_us
    _, made = await dial(http, api)
    api.now_us = lambda: api.world.start_us + 1_000_000
    assert (await get(http, api, made["_id"]))[1]["call_status"] == "ongoing"
    api.now_us = lambda: api.world.start_us + 200_000_000
    _, ended = await get(http, api, made["_id"])
    assert ended["call_status"] == "ended"
    path = f"/v2/ai-agents/{ended['ai_agent_id']}/postcall-analysis/results/{made['_id']}"
    async with http.get(api.url + path) as answer:
        assert (await answer.json())["data"]["items"]


async def test_a_repeated_id_makes_another_call(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """Both are counted, so that a test can see what must never happen."""
    for _ in range(2):
        assert (await dial(http, api, call_id="ours"))[0] == 201
    assert api.dials.by_call_id["ours"] == api.dials.by_number[WANTED["to_number"]] == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("from_number", None), ("to_number", None), ("to_number", "090-1234-5678")),
        *(("to_number", 819012345678), ("direction", None), ("direction", "inbound")),
        *(("call_id", 5), ("metadata", "text"), ("override_ai_agent_id", "no such agent")),
    ],
)
async def test_what_is_missing_or_wrong_gets_422(
    api: ApiServer, http: aiohttp.ClientSession, field: str, value: object
) -> None:
    """The answer names the field, and nothing is dialled."""
    status, problem = await dial(http, api, **{field: value})
    assert status == 422
    assert field in json.dumps(problem["detail"])
    assert not api.dials.calls


async def test_no_call_is_made_with_a_wrong_key(api: ApiServer) -> None:
    """As for all other requests."""
    async with aiohttp.ClientSession() as http, http.post(api.url + PATH, json=WANTED) as answer:
        assert answer.status == 401
    assert not api.dials.calls


FAULTS = {
    **dict.fromkeys(("too_many", "unheard"), 0),
    **dict.fromkeys(("reset", "cut", "server_error", "truncated", "html", "error_in_200", "late"), 1),
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_is_before_the_call_or_after_it(
    api: ApiServer, http: aiohttp.ClientSession, kind: str
) -> None:
    """Only two kinds of fault come before anything is done. After all others the call is made."""
    api.dial_faults = Faults(**{kind: 1.0})  # type: ignore[arg-type]
    try:
        async with http.post(api.url + PATH, json=WANTED) as answer:
            await answer.read()
    except aiohttp.ClientError:
        pass
    assert len(api.dials.calls) == FAULTS[kind]


async def test_a_late_call_is_known_only_later(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """By the server's clock."""
    api.now_us = lambda: api.world.start_us
    api.dial_faults = Faults(late=1.0, late_s=5)
    with pytest.raises(aiohttp.ClientError):
        await dial(http, api, call_id="ours")
    assert (await get(http, api, "ours"))[0] == 404
    api.now_us = lambda: api.world.start_us + 5_000_000
    assert (await get(http, api, "ours"))[0] == 200


async def test_a_dialled_call_sends_its_webhooks() -> None:
    """As any call does, so that a receiver and its tables see it come."""
    has_begun = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        if (await request.json())["payload"].get("call_id") == "ours":
            has_begun.set()
        return web.Response()

    async def dial_and_wait(report: SimulateReport) -> None:
        key = {"Authorization": "Bearer simulated-key"}
        wanted = {**WANTED, "call_id": "ours"}
        async with aiohttp.ClientSession(headers=key) as http:
            await http.post(f"{report.api_url}{PATH}", json=wanted)
        await asyncio.wait_for(has_begun.wait(), HANG_S)

    app = web.Application()
    app.router.add_post("/", receive)
    async with TestServer(app) as receiver:
        sending = SendOptions(str(receiver.make_url("/")))
        options = SimulateOptions(sending, DEFAULT_START, calls=1, api_port=0)
        await simulate(options, and_then=dial_and_wait)
