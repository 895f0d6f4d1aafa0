"""The answer to a stored event, as the bytes that a sender reads from its socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from support.deadline import HANG_S
from support.receiver import Serving, connected, make_body, serving, until


def a_request(trace_id: str, version: str, *headers: str) -> bytes:
    body = make_body(trace_id)
    lines = [f"POST /webhooks/verbex HTTP/{version}", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers by lower-case name, and body."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return status, headers, await reader.readexactly(int(headers["content-length"]))


@pytest.mark.parametrize(
    ("version", "headers"),
    [("1.1", ()), ("1.1", ("Connection: keep-alive",)), ("1.0", ("Connection: keep-alive",))],
)
async def test_a_connection_that_may_stay_open_accepts_the_next_event(
    tmp_path: Path, version: str, headers: tuple[str, ...]
) -> None:
    """The answer says `keep-alive`, and the second event is answered too."""
    async with serving(tmp_path) as running, connected(running.url) as (reader, writer):
        for trace_id in ("first", "second"):
            writer.write(a_request(trace_id, version, *headers))
            status, answered, _ = await read_answer(reader)
            assert (status, answered["connection"]) == ("HTTP/1.1 200 OK", "keep-alive")


@pytest.mark.parametrize(("version", "headers"), [("1.0", ()), ("1.1", ("Connection: close",))])
async def test_a_connection_that_must_end_is_closed_after_the_answer(
    tmp_path: Path, version: str, headers: tuple[str, ...]
) -> None:
    """This is also true for a sender with HTTP/1.0, which waits for the end."""
    async with serving(tmp_path) as running, connected(running.url) as (reader, writer):
        writer.write(a_request("only", version, *headers))
        _, answered, body = await read_answer(reader)
        assert (answered["connection"], json.loads(body)) == ("close", {"traceId": "only"})
        assert await reader.read() == b""


async def test_events_sent_without_waiting_are_answered_in_their_order(tmp_path: Path) -> None:
    """HTTP/1.1 allows such pipelined requests."""
    trace_ids = [f"event {number}" for number in range(20)]
    async with serving(tmp_path) as running, connected(running.url) as (reader, writer):
        writer.write(b"".join(a_request(trace_id, "1.1") for trace_id in trace_ids))
        bodies = [(await read_answer(reader))[2] for _ in trace_ids]
        assert [json.loads(body)["traceId"] for body in bodies] == trace_ids


UNREAD = 4000
"""Events whose answers, some forty megabytes, are more than sockets hold."""


@asynccontextmanager
async def sending_and_reading_nothing(url: str) -> AsyncIterator["asyncio.Task[None]"]:
    """Send `UNREAD` events and read none of the answers, until the block ends."""
    host, port = url.split("//")[1].split("/")[0].split(":")
    requests = a_request("x" * 9000, "1.1") * UNREAD
    with socket.create_connection((host, int(port)), timeout=HANG_S) as sender:
        sending = asyncio.create_task(asyncio.to_thread(sender.sendall, requests))
        try:
            yield sending
        finally:
            with suppress(OSError):  # it is gone already if the receiver hung up
                sender.shutdown(socket.SHUT_RDWR)
            await asyncio.gather(sending, return_exceptions=True)


def stored_count(running: Serving) -> int:
    """Return the number of stored events."""
    return int(running.metrics._stored["unsigned", True]._value.get())


async def test_unread_answers_do_not_pile_up(tmp_path: Path) -> None:
    """The receiver stops reading from a sender that reads no answers, so the waiting answers are bounded."""
    async with (
        serving(tmp_path) as running,
        connected(running.url) as (reader, writer),
        sending_and_reading_nothing(running.url) as sending,
    ):
        await until(lambda: stored_count(running) > 0)
        before, heard, others = 0, 1, 0
        while heard > before:  # the first sender is still read while a hundred events of another are stored
            before = heard
            for _ in range(100):
                writer.write(a_request("other", "1.1"))
                await read_answer(reader)
                others += 1
            heard = stored_count(running) - others
        assert heard < UNREAD
        assert not sending.done()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux's kernel ends them")
async def test_a_sender_that_reads_no_answers_does_not_keep_its_place(tmp_path: Path) -> None:
    """After a while the connection is ended."""
    async with (
        serving(tmp_path, unread_timeout_s=0.1) as running,
        sending_and_reading_nothing(running.url) as sending,
    ):
        with pytest.raises(ConnectionError):
            await sending


async def test_the_answer_is_dated_json_for_any_trace_id(tmp_path: Path) -> None:
    """The id is the sender's text, so it must not add headers or break the document."""
    trace_id = 'a"\r\nX-Injected: yes\r\n\r\n 電話'
    async with serving(tmp_path) as running, connected(running.url) as (reader, writer):
        writer.write(a_request(trace_id, "1.1"))
        _, answered, body = await read_answer(reader)
        assert json.loads(body) == {"traceId": trace_id}
        assert sorted(answered) == ["connection", "content-length", "content-type", "date"]
        assert parsedate_to_datetime(answered["date"]).tzinfo is not None
