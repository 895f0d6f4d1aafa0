"""Everything that can be wrong with a delivery: one table of cases, and fuzzing."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.deadline import HANG_S
from support.receiver import SEED_BODIES, Serving, make_body, post, serving

from connector.receiver import handler as receiver_module
from connector.receiver.handler import WEBHOOK_PATH

SEED = SEED_BODIES["pca_completed"]


def without(name: str) -> bytes:
    """Return an event that lacks a member."""
    event = json.loads(SEED)
    del event[name]
    return json.dumps(event).encode()


def payload(**members: Any) -> bytes:  # noqa: ANN401
    """Return an event with these members in its payload."""
    return make_body("a", payload=json.loads(SEED)["payload"] | members)


def raw(name: str, value: bytes) -> bytes:
    """Return an event with a member whose value is exactly these bytes."""
    event = json.loads(make_body("a"))
    event.pop(name, None)
    return json.dumps(event).encode()[:-1] + b', "' + name.encode() + b'": ' + value + b"}"


NO_EVENTS: dict[str, tuple[bytes, str]] = {
    # the case: the body, and a part of the problem's text
    "nothing": (b"", "empty"),
    "only spaces": (b" \n\t ", "empty"),
    "no JSON": (b"hello", "not JSON"),
    "a form": (b"traceId=a&eventName=b", "not JSON"),
    "XML": (b"<event/>", "not JSON"),
    "cut short": (SEED[:-1], "not JSON"),
    "two events": (SEED + SEED, "not JSON"),
    "something after the event": (SEED + b"x", "not JSON"),
    "a second byte order mark": (b"\xef\xbb\xbf" * 2 + SEED, "not JSON"),
    "UTF-16": (SEED.decode().encode("utf-16"), "not UTF-8"),
    "UTF-32": (SEED.decode().encode("utf-32"), "not UTF-8"),
    "Latin-1 in a known field": (raw("organizationId", b'"\xe9"'), "not UTF-8"),
    "Latin-1 in an unknown field": (raw("city", b'"\xe9"'), "not UTF-8"),
    "Latin-1 in a name": (SEED[:-1] + b', "\xe9": 1}', "not UTF-8"),
    "an overlong encoding": (raw("city", b'"\xc0\xaf"'), "not UTF-8"),
    "a surrogate encoded as UTF-8": (raw("city", b'"\xed\xa0\x80"'), "not UTF-8"),
    "a bare NUL": (raw("city", b'"\x00"'), "not JSON"),
    "NULs only": (bytes(100), "not JSON"),
    "a bare newline in a string": (raw("city", b'"a\nb"'), "not JSON"),
    "an unknown escape": (raw("city", rb'"\q"'), "not JSON"),
    "NaN": (raw("timestamp", b"NaN"), "not JSON"),
    "Infinity": (raw("timestamp", b"-Infinity"), "not JSON"),
    "NaN in an unknown field": (raw("score", b"NaN"), "not JSON"),
    "a leading zero": (raw("timestamp", b"01"), "not JSON"),
    "a hexadecimal number": (raw("timestamp", b"0x10"), "not JSON"),
    "single quotes": (SEED.replace(b'"', b"'"), "not JSON"),
    "a comment": (b"// event\n" + SEED, "not JSON"),
    "a trailing comma": (SEED.rstrip()[:-1] + b",}", "not JSON"),
    "nested too deep": (raw("x", b"[" * 100_000 + b"]" * 100_000), "nests deeper"),
    "nested too deep and cut": (raw("x", b'{"a":' * 50_000), "nests deeper"),
    "null": (b"null", "not a Verbex event"),
    "a number": (b"1", "not a Verbex event"),
    "a string": (b'"traceId"', "not a Verbex event"),
    "a list": (b"[" + SEED + b"]", "not a Verbex event"),
    "an empty object": (b"{}", "traceId"),
    "no traceId": (without("traceId"), "traceId"),
    "no eventName": (without("eventName"), "eventName"),
    "no timestamp": (without("timestamp"), "timestamp"),
    "an empty traceId": (make_body(traceId=""), "traceId"),
    "an empty eventName": (make_body(eventName=""), "eventName"),
    "a traceId that is null": (make_body(traceId=None), "traceId"),
    "a traceId that is a number": (make_body(traceId=1), "traceId"),
    "a traceId that is a list": (make_body(traceId=["a"]), "traceId"),
    "a traceId that is an object": (make_body(traceId={"$ne": ""}), "traceId"),
    "an eventName that is a boolean": (make_body(eventName=True), "eventName"),
    "a timestamp that is text": (make_body(timestamp="1762153092"), "timestamp"),
    "a timestamp in ISO 8601": (make_body(timestamp="2025-11-10T01:01:14Z"), "timestamp"),
    "a timestamp that is null": (make_body(timestamp=None), "timestamp"),
    "a timestamp that is a boolean": (make_body(timestamp=True), "timestamp"),
    "a timestamp before 1970": (make_body(timestamp=-1), "timestamp"),
    "a timestamp in milliseconds": (make_body(timestamp=1762153092420), "timestamp"),
    "a timestamp after 9999": (make_body(timestamp=253402300800), "timestamp"),
    "a timestamp beyond a float": (raw("timestamp", b"1e999"), "out of range"),
    "a timestamp of a thousand digits": (raw("timestamp", b"9" * 1000), "timestamp"),
    "an organizationId that is a number": (make_body(organizationId=1), "organizationId"),
    "a payload that is a list": (make_body(payload=[]), "payload"),
    "a payload that is text": (make_body(payload="{}"), "payload"),
    "a call_id that is a number": (payload(call_id=1), "call_id"),
    "an agent_id that is an object": (payload(agent_id={}), "agent_id"),
    "a status that is a boolean": (payload(status=True), "status"),
    "a reason that is a list": (payload(reason=[]), "reason"),
    "a payload timestamp that is text": (payload(timestamp="now"), "timestamp"),
    "a payload timestamp that is negative": (payload(timestamp=-5), "timestamp"),
    "a payload timestamp in microseconds": (payload(timestamp=1762153092420000), "timestamp"),
    "gzip": (b"\x1f\x8b\x08\x00anything", "gzip"),
}

EVENTS: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + SEED,
    "half an emoji in a known field": raw("traceId", rb'"\ud800"'),
    "half an emoji in an unknown field": raw("city", rb'"\udc00 x"'),
    "a path for a traceId": make_body("../../../etc/passwd"),
    "SQL for a traceId": make_body("'; drop table events; --"),
    "an escaped NUL": raw("traceId", rb'"a\u0000b"'),
    "a pair of surrogates": raw("traceId", rb'"\ud83d\ude00"'),
    "Japanese": make_body("通話"),
    "a very long traceId": make_body("x" * 5000),
    "a name twice: the last counts": make_body("a")[:-1] + b', "traceId": "b"}',
    "an enormous number in an unknown field": raw("score", b"9" * 1000),
    "a float beyond range in an unknown field": raw("score", b"1e999"),
    "an unknown payload field": payload(transfer_to="+81312345678"),
    "a timestamp of zero": make_body(timestamp=0),
    "a timestamp with an exponent": raw("timestamp", b"1.762153092e9"),
    "an unknown service": make_body(eventName="x"),
}


@pytest.mark.parametrize("name", NO_EVENTS)
async def test_a_body_that_is_no_event_is_stored_and_explained(tmp_path: Path, name: str) -> None:
    """It gets 400 with a sentence on what is wrong, and is stored as received with that sentence."""
    body, fragment = NO_EVENTS[name]
    async with serving(tmp_path, max_body_bytes=1_000_000) as running:
        status, document = await post(running.url, body)
        (row,) = running.stored()
    assert (status, document["stored"]) == (400, True)
    assert fragment in document["detail"]
    assert (row["body"], row["problem"]) == (body, document["detail"])


@pytest.mark.parametrize("name", EVENTS)
async def test_a_body_that_is_odd_but_an_event_is_accepted(tmp_path: Path, name: str) -> None:
    """It gets 200 and is stored as received, without a problem."""
    async with serving(tmp_path) as running:
        status, _ = await post(running.url, EVENTS[name])
        (row,) = running.stored()
    assert (status, row["body"], row["problem"]) == (200, EVENTS[name], None)


async def test_if_header_and_body_differ_the_body_counts(tmp_path: Path) -> None:
    """Only the body is signed. The header is stored too, for a person who investigates."""
    headers = {"X-Webhook-Traceid": "of the header", "X-Webhook-Event": "of.Header"}
    async with serving(tmp_path) as running:
        _, document = await post(running.url, make_body("of the body"), **headers)
        assert document == {"traceId": "of the body"}
        (row,) = running.stored()
    assert (row["trace_id"], row["event_name"]) == ("of the body", "CallHandler.CallStarted")
    assert dict(row["headers"])["x-webhook-traceid"] == "of the header"


async def test_a_header_that_is_not_utf_8_or_comes_twice_is_stored_readable(tmp_path: Path) -> None:
    """Neither breaks the group that it is stored with."""
    request = (
        b"POST /webhooks/verbex HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        b"X-Webhook-Event: a\xff\r\nX-Webhook-Event: b\r\nContent-Length: 2\r\n\r\n{}"
    )
    async with serving(tmp_path) as running:
        assert b" 400 " in await say(running, request)
        (row,) = running.stored()
    assert dict(row["headers"])["x-webhook-event"] == "a\\xff, b"


@pytest.mark.parametrize(
    "chunks",
    [b"5\r\n{}", b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n{}"],
)
async def test_a_chunked_body_cut_short_is_not_stored(tmp_path: Path, chunks: bytes) -> None:
    """The connection ends, with at most a 400, and the next event is accepted."""
    request = b"POST /webhooks/verbex HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    async with serving(tmp_path) as running:
        answer = await say(running, request, is_cut=True)
        assert answer == b"" or b" 400 " in answer
        assert running.stored() == []
        assert (await post(running.url, make_body()))[0] == 200
        assert len(running.stored()) == 1


@pytest.mark.parametrize(
    "target",
    ["http://hooks.example/webhooks/verbex", "/webhooks/%76erbex", "/webhooks/verbex?from=verbex"],
)
async def test_another_spelling_of_the_path_is_accepted(tmp_path: Path, target: str) -> None:
    """HTTP allows a client to send the whole URL, and to escape characters without need."""
    body = make_body()
    head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(tmp_path) as running:
        assert b" 200 " in await say(running, head.encode() + body)
        assert len(running.stored()) == 1


async def test_lengths_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """If the end of a request is ambiguous, another request could be hidden in it."""
    head = b"POST /webhooks/verbex HTTP/1.1\r\nHost: h\r\n"
    async with serving(tmp_path) as running:
        for lengths in (
            b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: -1",
            b"Content-Length: 1x",
        ):
            assert b" 400 " in await say(running, head + lengths + b"\r\n\r\n{}")
        both = head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"
        answer = await say(running, both, is_cut=True)
        assert answer == b"" or b" 400 " in answer
        assert running.stored() == []


async def say(running: Serving, request: bytes, *, is_cut: bool = False, most_bytes: int = 65536) -> bytes:
    """Send some bytes, and return up to `most_bytes` of the answer (-1: all); nothing if there is none."""
    port = int(running.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if is_cut:
            writer.write_eof()
        async with asyncio.timeout(HANG_S):
            return await reader.read(most_bytes)
    except ConnectionError:
        return b""
    finally:
        writer.close()


bodies = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    st.builds(
        lambda body, position, patch: body[:position] + patch + body[position + len(patch) :],
        st.sampled_from([*SEED_BODIES.values(), *EVENTS.values()]),
        st.integers(0, 400),
        st.binary(max_size=8),
    ),
)


def test_no_body_breaks_the_receiver(tmp_path: Path) -> None:
    """Fuzzed bodies get only 200 or 400, and each is stored byte for byte."""
    sent: list[bytes] = []
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        running = runner.run(stack.enter_async_context(serving(tmp_path)))

        async def connect() -> aiohttp.ClientSession:
            return await stack.enter_async_context(aiohttp.ClientSession())

        client = runner.run(connect())

        @given(body=bodies)
        @settings(max_examples=300)
        def check(body: bytes) -> None:
            async def deliver() -> int:
                async with client.post(
                    running.url, data=body, skip_auto_headers=["Content-Type"]
                ) as response:
                    return response.status

            assert runner.run(deliver()) in (200, 400)
            sent.append(body)

        check()
        assert [row["body"] for row in running.stored()] == sent
        runner.run(stack.aclose())


lines = st.sampled_from(
    b"POST /webhooks/verbex HTTP/1.1|Host: h|Content-Length: 2|Transfer-Encoding: chunked||{}|0|2"
    b"|Expect: 100-continue|Connection: Upgrade|Upgrade: h2c|GET /metrics HTTP/1.0".split(b"|")
)


requests = st.lists(lines | st.binary(max_size=40), max_size=10).map(b"\r\n".join)


def test_no_bytes_on_the_wire_break_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fuzzed requests get no answer or one below 500, and the next sender is served."""
    # Most are not whole, and the receiver waits for the rest: not for long, and for many at once.
    monkeypatch.setattr(receiver_module, "BODY_TIMEOUT_S", 0.2)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        running = runner.run(stack.enter_async_context(serving(tmp_path, keepalive_timeout_s=0.2)))

        async def say_all(several: list[bytes]) -> list[bytes]:
            return await asyncio.gather(*(say(running, request, most_bytes=-1) for request in several))

        @given(several=st.lists(requests, min_size=40, max_size=40))
        @settings(max_examples=6)
        def check(several: list[bytes]) -> None:
            for answer in runner.run(say_all(several)):
                assert b"HTTP/1.1 5" not in answer

        check()
        assert runner.run(post(running.url, make_body()))[0] == 200
        assert running.url.endswith(WEBHOOK_PATH)
        runner.run(stack.aclose())
