"""Answers without end or measure: they are given up by name, and fill no memory."""

import gzip
import random
import tracemalloc

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from connector.verbex.answer import AnswerTooLargeError
from connector.verbex.client import MAX_PAGE_BYTES, VerbexClient
from connector.verbex.transport import MAX_ANSWER_BYTES

CHUNK = b'"' + b"x" * 65_534 + b'"'
ROOM_BYTES = 32 * 1024 * 1024
"""For what is on its way when the client stops: socket buffers, and what is being inflated."""


class Endless:
    """A server whose every answer goes on until the client hangs up; counts what it could send."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.requests = 0
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send on and on."""
        self.requests += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(CHUNK)
            self.sent_bytes += len(CHUNK)


def client_of(server: BaseTestServer) -> VerbexClient:
    url = str(server.make_url("")).rstrip("/")
    return VerbexClient(url, "k", rate_per_s=1000, concurrency=1, rng=random.Random(1))


async def test_an_endless_answer_is_given_up_by_name() -> None:
    """It is read as far as an answer may reach, once, and the error says what to look at."""
    endless = Endless()
    async with TestServer(endless.app) as server, client_of(server) as client:
        with pytest.raises(AnswerTooLargeError, match=r"GET /v1/calls/x .*8,388,608 bytes.*VERBEX_API_URL"):
            await client.get_call("x")
    assert endless.requests == 1
    assert MAX_ANSWER_BYTES < endless.sent_bytes < MAX_ANSWER_BYTES + ROOM_BYTES


async def test_a_page_may_be_larger_but_not_endless() -> None:
    """A thousand transcripts are one page; their limit is higher, and there is one."""
    endless = Endless()
    async with TestServer(endless.app) as server, client_of(server) as client:
        with pytest.raises(AnswerTooLargeError, match=r"GET /v1/calls/ "):
            await anext(client.list_calls())
    assert MAX_PAGE_BYTES < endless.sent_bytes < MAX_PAGE_BYTES + ROOM_BYTES


async def test_a_small_answer_that_inflates_without_measure_fills_no_memory() -> None:
    """A thousandfold gzip is stopped at the same size as any other answer."""
    bomb = gzip.compress(b" " * 40 * MAX_ANSWER_BYTES, compresslevel=9)

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
