"""Answers that are endless or too large: they are stopped with a clear error, and do not fill the memory."""

import gzip
import random
import tracemalloc

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from support.deadline import HANG_S

from connector.verbex import transport
from connector.verbex.answer import AnswerTooLargeError
from connector.verbex.client import MAX_PAGE_BYTES, VerbexClient
from connector.verbex.transport import MAX_ANSWER_BYTES

CHUNK = b'"' + b"x" * 65_534 + b'"'
ROOM_BYTES = 32 * 1024 * 1024
"""Room for the bytes in transit when the client stops: socket buffers, and the bytes being inflated."""


@pytest.fixture(autouse=True)
def is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size ends these answers, and not the time that a busy machine takes to read so much."""
    monkeypatch.setattr(transport, "TIMEOUT", aiohttp.ClientTimeout(total=HANG_S))


class Endless:
    """A server whose answers continue until the client disconnects. It counts the bytes that it sent."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.requests = 0
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send until the client disconnects."""
        self.requests += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(CHUNK)
            self.sent_bytes += len(CHUNK)


def client_of(server: BaseTestServer) -> VerbexClient:
    url = str(server.make_url("")).rstrip("/")
    return VerbexClient(url, "k", rate_per_s=1000, concurrency=1, rng=random.Random(1))


async def test_an_endless_answer_is_stopped_at_the_limit() -> None:
    """It is requested once, and the error names the request, the limit and the setting to check."""
    endless = Endless()
    async with TestServer(endless.app) as server, client_of(server) as client:
        with pytest.raises(AnswerTooLargeError, match=r"GET /v1/calls/x .*8,388,608 bytes.*VERBEX_API_URL"):
            await client.get_call("x")
    assert endless.requests == 1
    assert MAX_ANSWER_BYTES < endless.sent_bytes < MAX_ANSWER_BYTES + ROOM_BYTES


async def test_a_page_may_be_larger_but_not_endless() -> None:
    """A page can hold a thousand transcripts, so its limit is higher."""
    endless = Endless()
    async with TestServer(endless.app) as server, client_of(server) as client:
        with pytest.raises(AnswerTooLargeError, match=r"GET /v1/calls/ "):
            await anext(client.list_calls())
    assert MAX_PAGE_BYTES < endless.sent_bytes < MAX_PAGE_BYTES + ROOM_BYTES


async def test_a_small_answer_that_inflates_without_measure_fills_no_memory() -> None:
    """A thousandfold gzip is stopped at the same size as any other answer."""
    bomb = gzip.compress(b" " * 10 * MAX_ANSWER_BYTES, compresslevel=9)

    async def answer(_: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=bomb, headers=headers)

    app = web.Application()
    app.router.add_get("/v1/calls/x", answer)
    async with TestServer(app) as server, client_of(server) as client:
        tracemalloc.start()
        try:
            with pytest.raises(AnswerTooLargeError):
                await client.get_call("x")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < MAX_ANSWER_BYTES + ROOM_BYTES
