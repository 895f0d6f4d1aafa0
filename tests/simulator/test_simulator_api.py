"""The simulated REST API: its answers, its refusals, and the faults that it can inject."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from connector.simulator.api import ApiServer
from connector.simulator.calls import Call, Course
from connector.simulator.faults import Faults
from connector.simulator.subscriptions import PATH
from connector.simulator.world import World

KEY = {"Authorization": "Bearer simulated-key"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as session:
        yield session


def pca_path(call: Call) -> str:
    return f"/v2/ai-agents/{call.agent.agent_id}/postcall-analysis/results/{call.call_id}"


def call_of(api: ApiServer, course: Course, *, is_bare: bool | None = None) -> Call:
    return next(
        call for call in api.world.calls if call.course is course and is_bare in (None, call.agent.is_bare)
    )


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with http.get(url) as answer:
        return answer.status, await answer.json()


async def test_a_pca_comes_wrapped_or_bare(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """The answers of most agents have a `data` wrapper, and some have none. Both hold the items."""
    wrapped, bare = (call_of(api, Course.NORMAL, is_bare=is_bare) for is_bare in (False, True))
    status, answer = await get(http, api.url + pca_path(wrapped))
    assert status == 200
    assert answer["data"]["call_id"] == wrapped.call_id
    assert answer["data"]["items"] == api.world.pca_items(wrapped)
    status, answer = await get(http, api.url + pca_path(bare))
    assert answer["items"] == api.world.pca_items(bare)


async def test_a_pca_is_not_available_before_its_time(http: aiohttp.ClientSession) -> None:
    """With a clock the answer has `available: false` first, and the items from the PCA's time on."""
    world = World.build()
    call = next(call for call in world.calls if call.course is Course.NORMAL and not call.agent.is_bare)
    assert call.pca_us is not None
    now_us = call.pca_us - 1
    async with ApiServer(world, now_us=lambda: now_us) as api:
        _, before = await get(http, api.url + pca_path(call))
        assert before["data"]["available"] is False
        now_us += 1
        _, after = await get(http, api.url + pca_path(call))
        assert after["data"]["items"]


async def test_a_call_has_its_details(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """A call that ended has its end and its transcript, and a credential that must not be stored."""
    call = call_of(api, Course.NORMAL)
    _, details = await get(http, f"{api.url}/v1/calls/{call.call_id}")
    assert details["_id"] == call.call_id
    assert details["call_end_time"]
    assert details["messages"]
    assert details["access_token"]


@pytest.mark.parametrize("path", ["/v1/calls/0", "/v2/ai-agents/0/postcall-analysis", pca_path])
async def test_an_unknown_call_or_agent_is_not_found(
    api: ApiServer, http: aiohttp.ClientSession, path: object
) -> None:
    """An unknown call, an unknown agent, and a call with another agent's id give 404."""
    call = call_of(api, Course.NORMAL)
    asked = path if isinstance(path, str) else pca_path(call).replace(call.agent.agent_id, "another")
    status, _ = await get(http, api.url + asked)
    assert status == 404


async def test_a_wrong_key_is_refused(api: ApiServer) -> None:
    """Without the right bearer key the answer is 401."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer wrong"}) as http:
        assert (await get(http, api.url + "/v1/calls/"))[0] == 401


async def test_the_list_pages_through_every_call_once(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """The page tokens lead to all calls, by default the newest first."""
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        _, page = await get(http, f"{api.url}/v1/calls/?page_size=7" + (token and f"&page_token={token}"))
        found += [call["_id"] for call in page["calls"]]
        token = page.get("next_page_token")
    assert found == [call.call_id for call in reversed(api.world.calls)]


async def test_the_list_filters_by_time_and_agent(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """A call at the first bound is included, a call at the second is not, and several agents may be named."""
    calls = api.world.calls
    agent_ids = [agent.agent_id for agent in api.world.agents[:2]]
    query: list[tuple[str, str]] = [("ai_agent_ids", agent_id) for agent_id in agent_ids]
    query += [
        ("start_time_after", iso(calls[5].started_us)),
        ("start_time_before", iso(calls[20].started_us)),
    ]
    async with http.get(api.url + "/v1/calls/", params=[*query, ("sort_direction", "asc")]) as answer:
        listed = [call["_id"] for call in (await answer.json())["calls"]]
    assert listed == [call.call_id for call in calls[5:20] if call.agent.agent_id in agent_ids]


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=1001", "sort_direction=up", "end_time_after=noon"]
)
async def test_a_bad_query_is_refused(api: ApiServer, http: aiohttp.ClientSession, query: str) -> None:
    """Values out of range give 422 with a `detail`."""
    status, answer = await get(http, f"{api.url}/v1/calls/?{query}")
    assert status == 422
    assert answer["detail"]


@pytest.mark.parametrize("is_date", [False, True])
async def test_too_many_requests_get_a_retry_after(http: aiohttp.ClientSession, *, is_date: bool) -> None:
    """The 429 has `Retry-After` in seconds, or as a date that is not earlier."""
    async with ApiServer(World.build(), faults=Faults(too_many=1, is_retry_after_date=is_date)) as api:
        asked_at = datetime.now(UTC)
        async with http.get(api.url + "/v1/calls/") as answer:
            assert answer.status == 429
            header = answer.headers["Retry-After"]
        assert (parsedate_to_datetime(header) - asked_at).total_seconds() >= 1 if is_date else header == "1"


@pytest.mark.parametrize("kind", ["reset", "cut"])
async def test_a_connection_can_break(http: aiohttp.ClientSession, kind: str) -> None:
    """The client sees a broken connection, before the answer or in the middle of it."""
    async with ApiServer(World.build(), faults=Faults(**{kind: 1.0})) as api:  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            await get(http, api.url + "/v1/calls/")


@pytest.mark.parametrize(
    ("kind", "status", "begins_with"),
    [("server_error", 500, b"{"), ("html", 200, b"<html>"), ("error_in_200", 200, b'{"status": 500')],
)
async def test_an_answer_can_be_wrong(
    http: aiohttp.ClientSession, kind: str, status: int, begins_with: bytes
) -> None:
    """An error may have an error status or a 200."""
    faults = Faults(**{kind: 1.0})  # type: ignore[arg-type]
    async with ApiServer(World.build(), faults=faults) as api, http.get(api.url + "/v1/calls/") as answer:
        assert answer.status == status
        assert (await answer.read()).startswith(begins_with)


async def test_an_answer_can_be_truncated(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """The status is 200, and the JSON stops halfway."""
    url = f"{api.url}/v1/calls/{api.world.calls[0].call_id}"
    async with http.get(url) as answer:
        whole = await answer.read()
    api.faults = Faults(truncated=1)
    async with http.get(url) as answer:
        assert await answer.read() == whole[: len(whole) // 2]


async def test_faults_do_not_depend_on_the_order_of_requests(http: aiohttp.ClientSession) -> None:
    """The seed decides which request of which call fails, for any number of requests in flight."""
    world, faults = World.build(calls=40), Faults.evenly(0.5, seed=3)
    seen = []
    for _ in range(2):
        async with ApiServer(world, faults=faults) as api:
            paths = [f"/v1/calls/{call.call_id}" for call in world.calls]
            await asyncio.gather(*(http.get(api.url + path) for path in paths), return_exceptions=True)
            seen.append({(request.path, request.fault) for request in api.requests})
    assert seen[0] == seen[1]
    assert len({fault for _, fault in seen[0]}) > 4


async def test_a_subscription_shows_its_secret_once(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """Creating and rotating return a secret, reading does not, and a rotation keeps the old secret valid."""
    wanted = {
        "name": "warehouse",
        "url": "https://example.com/",
        "enable_signed_webhooks": True,
        "events": ["*"],
    }
    async with http.post(api.url + PATH, json=wanted) as answer:
        made = await answer.json()
    _, shown = await get(http, f"{api.url}{PATH}/{made['id']}")
    assert "secret" not in shown
    async with http.post(f"{api.url}{PATH}/{made['id']}/rotate/secret") as answer:
        rotated = await answer.json()
    assert api.subscriptions.by_id[made["id"]].secrets == (rotated["secret"], made["secret"])


async def test_a_subscription_can_be_changed_and_deleted(api: ApiServer, http: aiohttp.ClientSession) -> None:
    """Updates change only the given fields, names are unique, and a deleted subscription is not found."""
    wanted = {"name": "warehouse", "url": "https://example.com/", "enable_signed_webhooks": False}
    async with http.post(api.url + PATH, json=wanted) as answer:
        url = f"{api.url}{PATH}/{(await answer.json())['id']}"
    async with http.post(api.url + PATH, json=wanted) as answer:
        assert answer.status == 422
    async with http.put(url, json={"active": False}) as answer:
        assert (await answer.json())["active"] is False
    async with http.delete(url) as answer:
        assert answer.status == 204
    assert (await get(http, url))[0] == 404


def iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="microseconds")
