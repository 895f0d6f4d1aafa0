"""Actions sent over HTTP to real servers: what goes out, what an answer means, and what is kept of it."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from standardwebhooks import Webhook
from support.actions import AT, SECRET, make_action
from support.certificate import make_certificate
from support.deadline import HANG_S

from connector.settings import Settings
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from connector.verbex.transport import utc_now
from pipelines.actions.action import MOST_ANSWER_BYTES, Answer
from pipelines.actions.destinations import HttpDestination, destination_of
from pipelines.actions.http import HttpSender, request_of

NAME = "VERBEX_ACTION_UNHAPPY_CALLER"
SHORT_S = 0.2
"""How long is waited for what never comes."""
NO_SETTINGS = Settings(_env_file=None)

NO_TEXT = b"[not text, so not kept]"
NOT_SEARCHED = b"[JSON that is cut or broken and may hold credentials, so not kept]"

Say = Callable[[bytes], bytes | None]
"""Gives the bytes to answer to a request; None to keep silent."""


@asynccontextmanager
async def answering(say: Say | bytes) -> AsyncIterator[tuple[HttpDestination, list[bytes]]]:
    """Serve raw bytes as answers, each on a connection of its own, and collect what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        asked.append(head + await reader.readexactly(length))
        answer = say if isinstance(say, bytes) else say(asked[-1])
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield HttpDestination(f"http://127.0.0.1:{port}/hook"), asked


async def send(
    destination: HttpDestination,
    *,
    settings: Settings = NO_SETTINGS,
    timeout_s: float = HANG_S,
    keep: tuple[str, ...] = (),
) -> Answer:
    async with HttpSender(settings, utc_now, timeout_s=timeout_s) as sender:
        return await sender.send(make_action(keep=keep), destination)


def answer_of(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_signed_request_is_accepted_and_what_the_rule_keeps_is_found() -> None:
    """The receiver checks it with the library of Standard Webhooks."""
    async with DestinationServer(SECRET) as server:
        answer = await send(HttpDestination(server.url, SECRET), keep=("ticket.id", "ticket_id", "none"))
        assert (answer.result, answer.http_status, answer.error) == ("sent", 200, None)
        assert answer.links == {"ticket.id": "1", "ticket_id": "T-1"}
        assert answer.body == b'{"ticket_id":"T-1","ticket":{"id":1}}'
        (request,) = server.requests
        assert (request.webhook_id, request.body) == ("act_1", make_action().body)
        other = "whsec_" + SECRET.removeprefix("whsec_")[::-1]
        assert (await send(HttpDestination(server.url, other))).result == "failed"
        assert (await send(HttpDestination(server.url))).result == "failed"
    assert server.refused == 2
    assert server.handled == {"act_1": 1}


async def test_a_preview_is_what_goes_out_byte_for_byte() -> None:
    """But for two headers that follow from the rest. Characters of all kinds stay as they are."""
    action = make_action({"to": "日本 é \u2028 <&\"'\\ \U0001f600"})
    async with answering(answer_of(204)) as (destination, asked):
        url = destination.url + "/a%2Fb?sig=x%2By&q=%7E"
        whole = HttpDestination(url, SECRET, {"Authorization": "Bearer x", "X-Key": "é"})
        preview = request_of(action, whole, AT)
        async with HttpSender(NO_SETTINGS, lambda: AT) as sender:
            assert (await sender.send(action, whole)).result == "sent"
    head, _, body = asked[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    sent = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /hook/a%2Fb?sig=x%2By&q=%7E HTTP/1.1"
    assert body == preview.body == action.body
    assert sent.pop("Host") in url
    assert int(sent.pop("Content-Length")) == len(body)
    assert sent == preview.headers
    assert preview.headers["webhook-signature"] == Webhook(SECRET).sign("act_1", AT, body.decode())


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3.5))])
def test_a_signature_does_not_depend_on_the_time_zone_of_the_clock(zone: timezone) -> None:
    """The header and the signed text name the same second."""
    request = request_of(make_action(), HttpDestination("http://x", SECRET), AT.astimezone(zone))
    assert request == request_of(make_action(), HttpDestination("http://x", SECRET), AT)
    assert request.headers["webhook-timestamp"] == str(int(AT.timestamp()))


@pytest.mark.parametrize(
    ("result", "statuses"),
    [
        ("sent", [200, 201, 202, 204, 299]),
        ("failed", [400, 401, 403, 404, 405, 410, 413, 422, 451, 499]),
        ("tried", [300, 301, 302, 304, 307, 308, 408, 409, 425, 429, 500, 502, 503, 504, 599]),
    ],
)
async def test_the_status_says_whether_a_repetition_can_help(result: str, statuses: list[int]) -> None:
    """A redirect is not followed: it could lead what was said in confidence anywhere."""
    async with DestinationServer() as elsewhere:
        for status in statuses:
            answered = answer_of(status, b"", f"Location: {elsewhere.url}", "Retry-After: 7")
            async with answering(answered) as (destination, asked):
                answer = await send(destination)
            assert (status, answer.result, answer.http_status) == (status, result, status)
            assert answer.retry_after_s == (7 if result == "tried" else None)
            assert (answer.error is None) == (result == "sent")
            assert len(asked) == 1
        assert elsewhere.requests == []


async def test_a_wait_may_be_asked_for_as_a_date() -> None:
    """Counted from the answer's own date."""
    dates = ("Date: Fri, 02 Jan 2026 00:00:00 GMT", "Retry-After: Fri, 02 Jan 2026 00:02:00 GMT")
    async with answering(answer_of(503, b"", *dates)) as (destination, _):
        assert (await send(destination)).retry_after_s == 120


async def _nowhere(_: Path) -> Answer:
    return await send(HttpDestination("http://127.0.0.1:1/hook"))


async def _no_such_name(_: Path) -> Answer:
    return await send(HttpDestination("http://no-such-name.invalid/hook"))


async def _no_name(_: Path) -> Answer:
    return await send(HttpDestination(f"http://{'x' * 64}.example.com/hook"))


async def _silent(_folder: Path) -> Answer:
    async with answering(lambda _: None) as (destination, _):
        return await send(destination, timeout_s=SHORT_S)


async def _reset(_folder: Path) -> Answer:
    async with answering(b"") as (destination, _):
        return await send(destination)


async def _cut(_folder: Path) -> Answer:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-") as (destination, _):
        return await send(destination)


async def _no_http(_folder: Path) -> Answer:
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as (destination, _):
        return await send(destination)


async def _endless_header(_folder: Path) -> Answer:
    async with answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000) as (destination, _):
        return await send(destination)


async def _unknown_certificate(folder: Path) -> Answer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(folder, "localhost"))
    async with TestServer(web.Application(), scheme="https", ssl=context) as secure:
        return await send(HttpDestination(f"https://localhost:{secure.port}/hook"))


@pytest.mark.parametrize(
    "attempt",
    [
        *(_nowhere, _no_such_name, _no_name, _silent, _reset, _cut, _no_http, _endless_header),
        _unknown_certificate,
    ],
)
async def test_without_an_answer_it_is_tried_again(
    attempt: Callable[[Path], Awaitable[Answer]], tmp_path: Path
) -> None:
    """Whatever the network does, an attempt ends with an answer, and its error is one line."""
    answer = await attempt(tmp_path)
    assert (answer.result, answer.http_status, answer.body) == ("tried", None, None)
    assert answer.error is not None
    assert answer.error.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\nffff\r\nxx",
        b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000,
        b"\r\n" + b"x" * 300_000,
    ],
    ids=["cut", "chunk cut", "long", "long without a length"],
)
async def test_what_follows_a_2xx_changes_nothing(body: bytes) -> None:
    """The receiver has said that it has it, so a repetition would be one too many."""
    async with answering(b"HTTP/1.1 200 OK\r\n" + body) as (destination, _):
        answer = await send(destination)
    assert (answer.result, answer.http_status) == ("sent", 200)
    assert answer.body is not None
    assert len(answer.body) <= MOST_ANSWER_BYTES


async def test_a_body_that_never_ends_does_not_hold_up_what_is_sent() -> None:
    """It ends with the time of the attempt."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(HANG_S)
        return response

    app = web.Application()
    app.router.add_post("/hook", drip)
    async with TestServer(app) as server:
        for timeout_s in (SHORT_S, 2.0, HANG_S / 2):  # on a busy machine the status itself may take long
            answer = await send(HttpDestination(str(server.make_url("/hook"))), timeout_s=timeout_s)
            if answer.http_status is not None:
                break
    assert (answer.result, answer.body) == ("sent", b"{")


async def test_nothing_is_inflated() -> None:
    """So no answer is larger than what was sent of it, and none is kept that can't be searched."""
    bomb = gzip.compress(b" " * 50_000_000)
    async with answering(answer_of(200, bomb, "Content-Encoding: gzip")) as (destination, asked):
        answer = await send(destination)
    assert (answer.result, answer.body) == ("sent", NO_TEXT)
    assert b"Accept-Encoding: identity" in asked[0]


async def test_secrets_and_credentials_are_not_kept() -> None:
    """Neither ours, which a receiver may echo, nor what it calls a credential, nor as a link."""
    options = {
        f"{NAME}_URL": SecretStr("https://x.example.com/?key=key-in-the-query"),
        f"{NAME}_SECRET": SecretStr(SECRET),
        f"{NAME}_HEADERS": SecretStr('{"Authorization": "Bearer bearer-token"}'),
    }
    settings = Settings(_env_file=None, action_options=options, smtp_url=SecretStr("smtp://u:smtp-pass@h"))
    assert destination_of(settings, "unhappy_caller").secret == SECRET
    echo = {
        "id": 1,
        "echo": ["Bearer bearer-token", "key-in-the-query", SECRET, "smtp-pass"],
        "token": "theirs",
    }
    async with answering(answer_of(200, json.dumps(echo).encode())) as (destination, _):
        answer = await send(destination, settings=settings, keep=("id", "echo.0", "echo.1", "token"))
    kept = (answer.body or b"").decode() + str(answer.links)
    for secret in ("bearer-token", "key-in-the-query", SECRET[6:], "smtp-pass", "theirs"):
        assert secret not in kept
    assert answer.links["id"] == "1"
    assert answer.links.keys() == {"id", "echo.0", "echo.1"}


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("plain, 着信".encode(), "plain, 着信".encode()),
        (b"", b""),
        (b"\xff\xfe", NO_TEXT),
        (b"a\x00b", NO_TEXT),
        (b'\xef\xbb\xbf{"a":"\\ud83d"}', b'{"a":"?"}'),
        (b'{"token": "hush', NOT_SEARCHED),
        (b'{"token": "' + b"x" * 70_000 + b'"}', NOT_SEARCHED),
        (b'{"a": 1', b'{"a": 1'),
        (b"[" * 5_000, b"[" * 5_000),
        (b"x" + "é".encode() * 40_000, b"x" + "é".encode() * 32_767),
    ],
    ids=["text", "empty", "no text", "nul", "half", "broken", "cut", "harmless", "deep", "long"],
)
async def test_what_is_kept_of_an_answer_is_text(status: int, body: bytes, kept: bytes) -> None:
    """At most 64 kB of it, which end with a whole character."""
    async with answering(answer_of(status, body)) as (destination, _):
        assert (await send(destination)).body == kept


async def test_a_secret_across_the_end_of_what_is_kept_is_cut_out() -> None:
    """A half of it would be left."""
    settings = Settings(_env_file=None, api_key=SecretStr("a-secret-api-key" * 4))
    body = b"x" * (MOST_ANSWER_BYTES - 20) + b"a-secret-api-key" * 4
    async with answering(answer_of(200, body)) as (destination, _):
        answer = await send(destination, settings=settings)
    assert b"secret-api" not in (answer.body or b"")


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("id", "12345678901234567890123"),
        ("number", "1.10e3"),
        ("text", "T-1 é"),
        ("flag", "true"),
        ("list.1.id", "b"),
        ("list.0", None),
        ("list.9.id", None),
        ("list.-1.id", None),
        ("list.x", None),
        ("nothing", None),
        ("object", None),
        ("text.0", None),
        ("absent.id", None),
        ("nul", None),
        ("twice", "first"),
    ],
)
async def test_a_link_is_a_scalar_of_the_answer_with_all_its_digits(path: str, link: str | None) -> None:
    """An ID may have more digits than a number can hold."""
    body = (
        '{"id": 12345678901234567890123, "number": 1.10e3, "text": "T-1 é", "flag": true, "nothing": null,'
        ' "list": [{"id": "a"}, {"id": "b"}], "object": {}, "nul": "\\u0000",'
        ' "twice": "first", "twice": "last"}'
    ).encode()
    async with answering(answer_of(200, body)) as (destination, _):
        assert (await send(destination, keep=(path,))).links == ({} if link is None else {path: link})


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1, 2", b"[" * 5_000, b'"text"', b"7"])
async def test_an_answer_without_fields_gives_no_link(body: bytes) -> None:
    """And is sent all the same."""
    async with answering(answer_of(200, body)) as (destination, _):
        answer = await send(destination, keep=("id", "0"))
    assert (answer.result, answer.links) == ("sent", {})


async def test_an_attempt_does_not_depend_on_those_before_it() -> None:
    """A cookie would make a request another one than its preview."""
    async with (
        answering(answer_of(500, b"", "Set-Cookie: a=b; Path=/")) as (destination, asked),
        HttpSender(NO_SETTINGS, lambda: AT) as sender,
    ):
        # a cookie of an address would not be kept by itself
        named = HttpDestination(destination.url.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            await sender.send(make_action(), named)
    assert asked[0] == asked[1]


async def test_a_destination_that_hangs_holds_up_no_other() -> None:
    """However many of its requests are waiting."""
    action, left, are_all_waiting = make_action(), count(119, -1), asyncio.Event()

    def keep_silent(_: bytes) -> None:
        if next(left) == 0:
            are_all_waiting.set()

    async with (
        answering(keep_silent) as (dead, _),
        DestinationServer() as alive,
        HttpSender(NO_SETTINGS, utc_now) as sender,
    ):
        waiting = [asyncio.create_task(sender.send(action, dead)) for _ in range(120)]
        await asyncio.wait_for(are_all_waiting.wait(), HANG_S)
        answer = await asyncio.wait_for(sender.send(action, HttpDestination(alive.url)), HANG_S)
        assert answer.result == "sent"
        for task in waiting:
            task.cancel()


@pytest.mark.parametrize("is_excluded", [False, True])
async def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch,
    is_excluded: bool,
) -> None:
    """For plain requests too, unless `NO_PROXY` names the host."""
    async with answering(answer_of(200)) as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/hook"))
        monkeypatch.setenv("NO_PROXY", "helpdesk.invalid" if is_excluded else "")
        answer = await send(HttpDestination("http://helpdesk.invalid/hook"))
    assert answer.result == ("tried" if is_excluded else "sent")
    assert len(asked) == (0 if is_excluded else 1)


async def test_every_action_is_sent_in_the_end_whatever_its_destination_does() -> None:
    """It is handled once more at most for each answer that was lost, always under the same ID."""
    faults = Faults(server_error=0.1, reset=0.1, dropped=0.1, too_many=0.1, cut=0.1, truncated=0.1)

    async def send_until_sent(sender: HttpSender, destination: HttpDestination, number: int) -> None:
        action = make_action(action_id=f"act_{number}")
        while (await sender.send(action, destination)).result != "sent":
            pass

    async with (
        DestinationServer(SECRET, faults=faults) as server,
        HttpSender(NO_SETTINGS, utc_now, timeout_s=HANG_S) as sender,
    ):
        destination = HttpDestination(server.url, SECRET)
        await asyncio.gather(*(send_until_sent(sender, destination, number) for number in range(40)))
    dropped = [request.webhook_id for request in server.requests if request.fault == "dropped"]
    assert dropped
    for number in range(40):
        action_id = f"act_{number}"
        assert server.handled[action_id] == 1 + dropped.count(action_id)
