"""The client with a simulated Verbex over a real socket: repetition, pace, waits, errors."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.calls import Call, Course
from connector.simulator.details import ACCESS_TOKEN_MARK, iso
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.verbex import transport
from connector.verbex.answer import ApiUnavailableError, NotAuthorizedError, RequestRefusedError, VerbexError
from connector.verbex.client import VerbexClient


def client_of(
    api: ApiServer, *, rate_per_s: float = 10_000, concurrency: int = 8, key: str = DEFAULT_API_KEY
) -> VerbexClient:
    return VerbexClient(api.url, key, rate_per_s=rate_per_s, concurrency=concurrency, rng=random.Random(1))


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[VerbexClient]:
    async with client_of(api) as opened:
        yield opened


@pytest.fixture
def is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)


def call_of(api: ApiServer, course: Course = Course.NORMAL) -> Call:
    return next(call for call in api.world.calls if call.course is course)


async def test_every_pca_is_read_in_both_shapes(api: ApiServer, client: VerbexClient) -> None:
    """A call with a PCA gives its items. Any other call gives nothing, with the API's reason."""
    for call in api.world.calls:
        answer = await client.get_pca(call.agent.agent_id, call.call_id)
        if call.has_results:
            assert answer.body is not None
            assert json.loads(answer.body) == api.world.pca_answer(call)
        else:
            assert (answer.body, answer.reason) == (None, "Post-call analysis is not available for this call")


async def test_an_unknown_call_has_nothing_yet(api: ApiServer, client: VerbexClient) -> None:
    """A 404 is not an error, because an event can arrive before the API knows the call."""
    assert (await client.get_call("0" * 24)).body is None
    assert (await client.get_pca(api.world.agents[0].agent_id, "0" * 24)).http_status == 404


async def test_details_come_without_their_credential(api: ApiServer, client: VerbexClient) -> None:
    """The access token is missing, and everything else of the answer is there."""
    call = call_of(api)
    answer = await client.get_call(call.call_id)
    details = api.world.details(call)
    del details["access_token"]
    assert answer.value == details
    assert answer.body is not None
    assert ACCESS_TOKEN_MARK.encode() not in answer.body


async def test_the_configuration_of_an_agent_is_read(api: ApiServer, client: VerbexClient) -> None:
    """All items are returned in their order."""
    agent = api.world.agents[1]
    assert (await client.get_pca_configuration(agent.agent_id)).value == agent.configuration()


async def test_the_list_gives_every_call_once_over_many_pages(api: ApiServer, client: VerbexClient) -> None:
    """All pages are read, and no call in them has a credential."""
    pages = [page async for page in client.list_calls({"page_size": "7"})]
    assert len(pages) == 5
    listed = [call for page in pages for call in page]
    assert [call.call_id for call in listed] == [call.call_id for call in reversed(api.world.calls)]
    assert not any(b"access_token" in (call.body or b"access_token") for call in listed)


async def test_the_list_passes_filters_on(api: ApiServer, client: VerbexClient) -> None:
    """Names and values reach the API unchanged, including lists."""
    after, before = api.world.calls[3], api.world.calls[12]
    query = {
        "start_time_after": iso(after.started_us),
        "start_time_before": iso(before.started_us),
        "ai_agent_ids": [agent.agent_id for agent in api.world.agents],
    }
    [page] = [page async for page in client.list_calls(query)]
    assert {call.call_id for call in page} == {call.call_id for call in api.world.calls[3:12]}


PAGES = [
    [{"calls": [{"_id": "a"}], "next_page_token": 5}, {"calls": [{"_id": "b"}]}],
    [{"calls": [{"_id": "a"}], "next_page_token": {"x": 1}}, {"calls": [{"_id": "b"}, None, {}]}],
    [{"data": {"calls": [{"_id": "a"}], "next_page_token": "t"}}, {"data": {"calls": [{"_id": "b"}]}}],
    [{"data": {"calls": [{"_id": "a"}]}, "next_page_token": "t"}, {"calls": [{"_id": "b"}]}],
]


@asynccontextmanager
async def listing(pages: Sequence[object]) -> AsyncIterator[VerbexClient]:
    """Open a client of a server that answers every request with the next of these pages."""
    left = iter(pages)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(next(left))

    app = web.Application()
    app.router.add_get("/v1/calls/", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with VerbexClient(url, "k", rate_per_s=1000, concurrency=1, rng=random.Random(1)) as client:
            yield client


@pytest.mark.parametrize("pages", PAGES)
async def test_no_page_is_skipped_for_any_form_of_the_page_token(pages: list[object]) -> None:
    """The token may be inside or outside of the wrapper, and may have any type."""
    async with listing(pages) as client:
        assert [call.call_id async for page in client.list_calls() for call in page] == ["a", "b"]


async def test_a_list_of_objects_without_an_id_is_an_error() -> None:
    """Otherwise its day would count as read to its end and without calls."""
    async with listing([{"calls": [{"id": "a"}]}]) as client:
        with pytest.raises(ApiUnavailableError, match="_id"):
            await anext(client.list_calls())


@pytest.mark.usefixtures("is_quick")
@pytest.mark.parametrize("kind", ["server_error", "reset", "cut", "truncated", "html", "error_in_200"])
async def test_a_fault_is_asked_again_and_then_named(api: ApiServer, client: VerbexClient, kind: str) -> None:
    """If a fault lasts, there are four tries, and the error says what was asked and what came back."""
    api.faults = Faults(**{kind: 1.0})  # type: ignore[arg-type]
    call = call_of(api)
    with pytest.raises(ApiUnavailableError, match=rf"GET /v1/calls/{call.call_id} got .* Try again later"):
        await client.get_call(call.call_id)
    # aiohttp itself tries again once if a connection breaks before an answer.
    tries = transport.TRIES * (2 if kind == "reset" else 1)
    assert transport.TRIES <= api.request_count(call.call_id) <= tries


@pytest.mark.usefixtures("is_quick")
async def test_a_fault_that_passes_is_not_seen(api: ApiServer, client: VerbexClient) -> None:
    """With 20 % faults of all kinds every call is answered, and only faults are asked again."""
    api.faults = Faults.evenly(0.2, seed=1)
    api.faults = Faults(**{**vars(api.faults), "too_many": 0.0})
    answers = await asyncio.gather(*(client.get_call(call.call_id) for call in api.world.calls))
    assert all(answer.body for answer in answers)
    faulty = sum(request.fault is not None for request in api.requests)
    assert faulty > 0
    assert len(api.requests) == len(api.world.calls) + faulty


@pytest.mark.parametrize("is_date", [False, True])
async def test_no_request_is_sent_before_a_retry_after_ends(*, is_date: bool) -> None:
    """After a 429 no request is sent until the time that it names, in seconds or as a date."""
    async with ApiServer(World.build(calls=30)) as api, client_of(api, concurrency=4) as client:
        api.faults = Faults(too_many=0.05, retry_after_s=1, is_retry_after_date=is_date, seed=2)
        await asyncio.gather(*(client.get_call(call.call_id) for call in api.world.calls))
        refused_s = [request.at_s for request in api.requests if request.fault]
        assert refused_s
        for at_s in refused_s:
            # Each of the other three workers may already have sent one request.
            assert sum(0 < request.at_s - at_s < 1 for request in api.requests) <= 3


async def test_a_client_does_not_end_before_a_wait_that_the_api_asked_for(api: ApiServer) -> None:
    """The next client would not know of the wait."""
    api.faults = Faults(too_many=1, retry_after_s=1)
    async with client_of(api) as client:
        with pytest.raises(ApiUnavailableError):
            await client.send("POST", "/v1/public/webhook/subscription")
    assert time.monotonic() - api.requests[0].at_s >= 1


async def test_a_long_retry_after_is_reported_and_not_waited_for(
    api: ApiServer, client: VerbexClient
) -> None:
    """A wait of an hour is an error at once, and the error has the wait."""
    api.faults = Faults(too_many=1, retry_after_s=3600)
    with pytest.raises(ApiUnavailableError, match="got 429") as raised:
        await client.get_call(call_of(api).call_id)
    assert raised.value.retry_after_s == 3600
    assert api.request_count() == 1


async def test_the_rate_is_never_exceeded(api: ApiServer) -> None:
    """100 intervals at 100 requests a second take a second, however many callers there are."""
    began_s = time.monotonic()  # the first request may be late to arrive, so its arrival is no beginning
    async with client_of(api, rate_per_s=100) as client:
        await asyncio.gather(*(client.get_call(f"{number:024x}") for number in range(101)))
    assert api.requests[-1].at_s - began_s >= 1


async def test_no_more_is_in_flight_than_allowed(api: ApiServer) -> None:
    """However many callers there are, the server sees three requests at once."""
    api.faults = Faults(slow=1, slow_s=0.1)
    async with client_of(api, concurrency=3) as client:
        await asyncio.gather(*(client.get_call(call.call_id) for call in api.world.calls[:15]))
    assert api.max_in_flight == 3


async def test_a_refused_key_is_an_error_at_once(api: ApiServer) -> None:
    """There is only one request, and the error names the setting and does not repeat the key."""
    async with client_of(api, key="wrong-key") as client:
        with pytest.raises(NotAuthorizedError, match="VERBEX_API_KEY") as raised:
            await client.get_call(call_of(api).call_id)
    assert "wrong-key" not in str(raised.value)
    assert api.request_count() == 1


async def test_a_missing_key_is_an_error_before_any_request() -> None:
    """Without a key there is no client."""
    with pytest.raises(NotAuthorizedError, match="VERBEX_API_KEY"):
        VerbexClient.from_settings(Settings(_env_file=None), random.Random(1))


@pytest.mark.usefixtures("is_quick")
async def test_a_server_that_does_not_answer_is_named() -> None:
    """The error for a refused connection names the host."""
    settings = Settings(_env_file=None, api_url="http://127.0.0.1:1", api_key="k")
    async with VerbexClient.from_settings(settings, random.Random(1)) as client:
        with pytest.raises(ApiUnavailableError, match=r"got no answer from 127\.0\.0\.1"):
            await client.get_call("x")


@pytest.mark.parametrize("call_id", ["../../v1/calls/", "a/b", "?x=1", "%2e%2e", "通話", " ", "a#b", "\n"])
async def test_an_id_stays_one_segment_of_the_path(
    api: ApiServer, client: VerbexClient, call_id: str
) -> None:
    """Ids come from outside, and none of them can reach another endpoint."""
    assert (await client.get_call(call_id)).http_status == 404
    assert api.requests[0].path == f"/v1/calls/{call_id}"


@pytest.mark.parametrize("call_id", ["", ".", ".."])
async def test_an_invalid_id_is_refused_without_a_request(
    api: ApiServer, client: VerbexClient, call_id: str
) -> None:
    """Dots would name a parent path, and an empty id would list all calls."""
    with pytest.raises(RequestRefusedError):
        await client.get_call(call_id)
    assert api.request_count() == 0


async def test_connections_are_reused(api: ApiServer, client: VerbexClient) -> None:
    """Thirty requests one after the other use one connection."""
    for call in api.world.calls:
        await client.get_call(call.call_id)
    assert len(api.peers) == 1


@pytest.mark.usefixtures("is_quick")
@pytest.mark.parametrize("odd", [b"[" * 700 + b"]" * 700])
async def test_json_that_can_not_be_searched_is_an_error(odd: bytes) -> None:
    """It could hide a credential. The error is a `VerbexError`, so it stops no other call."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=b'{"_id":"x","secret":1,"odd":' + odd + b"}", content_type="application/json"
        )

    app = web.Application()
    app.router.add_get("/v1/calls/x", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with VerbexClient(url, "k", rate_per_s=1000, concurrency=1, rng=random.Random(1)) as client:
            with pytest.raises(ApiUnavailableError, match="searched for credentials"):
                await client.get_call("x")


async def test_a_retry_after_date_counts_by_the_clock_of_the_api(api: ApiServer) -> None:
    """A date in `Retry-After` is compared with the API's own clock, whatever the caller's shows."""
    api.faults = Faults(too_many=1, is_retry_after_date=True, retry_after_s=3600)
    settings = Settings(_env_file=None, api_url=api.url, api_key=DEFAULT_API_KEY)
    for ahead in (timedelta(hours=-5), timedelta(hours=5)):
        wrong = datetime.now(UTC) + ahead
        async with VerbexClient.from_settings(settings, random.Random(1), lambda: wrong) as client:  # noqa: B023
            with pytest.raises(ApiUnavailableError) as raised:
                await client.get_call("x")
        assert 3600 <= (raised.value.retry_after_s or 0) <= 3602


async def test_other_requests_keep_their_credentials(client: VerbexClient) -> None:
    """`send` returns a subscription's secret, because its caller must store it."""
    wanted = {"name": "n", "url": "https://example.com", "enable_signed_webhooks": True}
    made: Any = (await client.send("POST", "/v1/public/webhook/subscription", wanted)).value
    assert made["secret"]


async def test_a_post_is_never_repeated(api: ApiServer, client: VerbexClient) -> None:
    """The first try may have worked although its answer was lost."""
    api.faults = Faults(cut=1)
    asked: Awaitable[object] = client.send("POST", "/v1/public/webhook/subscription", {})
    with pytest.raises(VerbexError):
        await asked
    assert api.request_count() == 1
