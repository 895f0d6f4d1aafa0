"""Asking for an outbound call: one request, and what is certain of it when it fails."""

import asyncio
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.certificate import make_certificate

from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.details import ACCESS_TOKEN_MARK
from connector.simulator.faults import Faults
from connector.verbex import transport
from connector.verbex.answer import RequestRefusedError, VerbexError
from connector.verbex.client import DIAL_PATH, VerbexClient, api_key_of

WANTED = {"from_number": "+81312345678", "to_number": "+819012345678", "direction": "outbound"}
BODY = json.dumps(WANTED, indent=1).encode()


@asynccontextmanager
async def client_of(url: str, key: str = DEFAULT_API_KEY) -> AsyncIterator[VerbexClient]:
    async with VerbexClient(url, key, rate_per_s=10_000, concurrency=2, rng=random.Random(1)) as client:
        yield client


async def failure(url: str, key: str = DEFAULT_API_KEY) -> VerbexError:
    """Dial, which must fail, and return how."""
    with pytest.raises(VerbexError) as caught:
        async with client_of(url, key) as client:
            await client.dial(BODY)
    return caught.value


@asynccontextmanager
async def answering(
    answer: web.Response, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request with this, and give the address and the bodies that came."""
    came: list[bytes] = []

    async def note(request: web.Request) -> web.Response:
        came.append(await request.read())
        return answer

    app = web.Application()
    app.router.add_post(DIAL_PATH, note)
    server = TestServer(app)
    await server.start_server(ssl=tls)
    async with server:
        yield str(server.make_url("")).rstrip("/"), came


@pytest.fixture(autouse=True)
def is_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


async def test_a_dialled_call_comes_back_without_its_credential(api: ApiServer) -> None:
    """Everything else of the answer is there, and the call was made once."""
    async with client_of(api.url) as client:
        answer = await client.dial(BODY)
    assert answer.http_status == 201
    assert answer.value["to_number"] == WANTED["to_number"]
    assert ACCESS_TOKEN_MARK.encode() not in (answer.body or b"")
    assert api.dials.by_number == {WANTED["to_number"]: 1}


async def test_the_body_arrives_byte_for_byte() -> None:
    """What a person has seen beforehand is what is sent."""
    async with (
        answering(web.json_response({"_id": "a"}, status=201)) as (url, came),
        client_of(url) as client,
    ):
        await client.dial(BODY)
    assert came == [BODY]


@pytest.mark.parametrize(
    "kind",
    ["server_error", "reset", "cut", "truncated", "html", "error_in_200", "slow", "unheard", "late"],
)
async def test_one_request_is_sent_and_perhaps_made_a_call(
    api: ApiServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client can't know it, so it says neither that a call was made nor that none was."""
    monkeypatch.setattr(transport, "TIMEOUT", aiohttp.ClientTimeout(total=30, sock_read=0.2))
    api.faults = Faults(**{kind: 1.0}, slow_s=60)  # type: ignore[arg-type]
    error = await failure(api.url)
    assert error.was_sent
    assert error.http_status is None or not 400 <= error.http_status < 500
    assert api.request_count() == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 410, 422, 425, 429, 302, 500, 503])
@pytest.mark.parametrize("text", ['{"detail": "no"}', "<html>no</html>"])
async def test_a_status_is_passed_on_and_nothing_sent_again(status: int, text: str) -> None:
    """Whoever asked decides by it, whatever the body is, and obeys `Retry-After`."""
    headers = {"Retry-After": "0.01", "Location": DIAL_PATH}
    content_type = "application/json" if text.startswith("{") else "text/html"
    refusal = web.Response(text=text, status=status, headers=headers, content_type=content_type)
    async with answering(refusal) as (url, came):
        error = await failure(url)
    assert (error.http_status, error.retry_after_s, error.was_sent) == (status, 0.01, True)
    assert len(came) == 1


@pytest.mark.parametrize(
    ("status", "value"), [(200, {"ok": True}), (200, []), (202, {}), (200, {"available": False})]
)
async def test_an_answer_that_names_no_call_does_not_count_as_one(status: int, value: object) -> None:
    """Something in between may have answered in Verbex's place."""
    async with answering(web.json_response(value, status=status)) as (url, came):
        error = await failure(url)
    assert error.was_sent
    assert len(came) == 1


@pytest.mark.parametrize("value", [{"data": {"_id": "a"}}, {"id": "a"}, {"call_id": "a"}, {}])
async def test_a_201_counts_whatever_is_in_it(value: object) -> None:
    """The documented status is enough, because dialling again would be worse than an id too few."""
    async with answering(web.json_response(value, status=201)) as (url, _), client_of(url) as client:
        assert (await client.dial(BODY)).http_status == 201


async def test_nothing_was_sent_if_no_one_listens() -> None:
    """A refused connection is certain: no call was made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not (await failure(f"http://127.0.0.1:{port}")).was_sent


async def test_nothing_was_sent_if_the_name_is_unknown() -> None:
    """So is a name that has no address."""
    assert not (await failure("https://api.invalid")).was_sent


async def test_nothing_was_sent_if_tls_fails(api: ApiServer) -> None:
    """A server that speaks no TLS got no request."""
    assert not (await failure(api.url.replace("http://", "https://"))).was_sent
    assert api.request_count() == 0


async def test_nothing_was_sent_to_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """The key would go to a stranger, so the request does not leave."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with answering(web.Response(), context) as (url, came):
        assert not (await failure(url)).was_sent
    assert came == []


async def test_nothing_was_sent_if_no_connection_comes_about_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and then says nothing to TLS."""
    monkeypatch.setattr(transport, "TIMEOUT", aiohttp.ClientTimeout(total=30, sock_connect=0.2))
    async with raw_server(b"") as (port, _):
        assert not (await failure(f"https://127.0.0.1:{port}")).was_sent


async def test_nothing_was_sent_if_a_proxy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that lets no one through asked Verbex nothing."""
    async with raw_server(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as (port, came):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        assert not (await failure("https://api.invalid")).was_sent
    assert [asked.split()[0] for asked in came] == [b"CONNECT"]


async def test_nothing_was_sent_without_a_key() -> None:
    """Nor for an id that can't be one."""
    with pytest.raises(VerbexError) as caught:
        api_key_of(Settings(_env_file=None, api_key=None))
    assert not caught.value.was_sent
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(RequestRefusedError) as refused:
            await client.get_call("..")
    assert not refused.value.was_sent


async def test_a_reused_connection_that_breaks_is_not_tried_again(api: ApiServer) -> None:
    """A GET would be repeated by itself on a new connection. A call is never asked for twice."""
    async with client_of(api.url) as client:
        assert (await client.get_call("unknown")).body is None
        api.dial_faults = Faults(unheard=1.0)
        with pytest.raises(VerbexError):
            await client.dial(BODY)
    assert [request.method for request in api.requests] == ["GET", "POST"]
    assert len(api.peers) == 1


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Listen on a port, take what comes, and send these bytes."""
    came: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            came.append(await reader.read(65536))
            writer.write(answer)
            await writer.drain()
            if answer:
                writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came
