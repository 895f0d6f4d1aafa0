"""The receiver against bad requests: slow, huge, compressed, broken, or from the wrong network."""

import asyncio
import gzip
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificate import EC, KEYS, make_certificate
from support.deadline import HANG_S
from support.receiver import ReceiverProcess, connected, landed_rows, make_body, post, serving, until

from connector.landing.files import Landing
from connector.receiver import handler as receiver_module
from connector.receiver.peers import PeerPolicy
from connector.receiver.tls import Certificate

HEAD = b"POST /webhooks/verbex HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"


async def answer_to(url: str, *pieces: bytes, is_cut: bool = False) -> bytes:
    """Send some bytes, and return what the receiver answers before it closes the connection."""
    async with connected(url) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if is_cut:
            writer.write_eof()
        try:
            async with asyncio.timeout(HANG_S):
                return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial


async def test_a_body_that_is_too_slow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that never finishes its body gets 408, and nothing is stored."""
    monkeypatch.setattr(receiver_module, "BODY_TIMEOUT_S", 0.1)
    async with serving(tmp_path) as running:
        assert b" 408 " in await answer_to(running.url, HEAD + b"Content-Length: 9\r\n\r\n{")
        assert running.stored() == []


async def test_a_connection_with_headers_that_are_too_slow_is_closed(tmp_path: Path) -> None:
    """A sender that never finishes its headers does not keep its connection."""
    async with serving(tmp_path, keepalive_timeout_s=0.2) as running:
        assert await answer_to(running.url, b"POST /webhooks/verbex HTTP/1.1\r\nX: ") == b""


async def test_headers_that_are_too_large_are_refused(tmp_path: Path) -> None:
    """One header that is too long gets 400, and so do too many headers."""
    async with serving(tmp_path) as running:
        for headers in (b"X: " + b"x" * 10_000, b"\r\n".join(b"X-%d: x" % number for number in range(500))):
            assert b" 400 " in await answer_to(running.url, HEAD + headers + b"\r\n\r\n")
        assert running.stored() == []


async def test_a_connection_above_the_limit_gets_503_and_is_closed(tmp_path: Path) -> None:
    """The 503 has Retry-After. Once another connection ends, the next one is served."""
    async with serving(tmp_path, max_connections=2) as running:
        async with connected(running.url), connected(running.url):
            refused = await answer_to(running.url, b"")
            assert b" 503 " in refused
            assert b"Retry-After" in refused
        async with asyncio.timeout(HANG_S):
            while (await post(running.url, make_body()))[0] != 200:  # until both are seen to be gone
                pass


async def test_unfinished_bodies_are_bounded_over_all_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above their limit the answer is 503. Later events are accepted again."""
    monkeypatch.setattr(receiver_module, "MAX_ARRIVING_BYTES", 4000)
    half = HEAD + b"Content-Length: 6000\r\n\r\n" + b" " * 3000
    async with serving(tmp_path) as running:
        async with connected(running.url) as (_, writer):
            writer.write(half)
            await until(lambda: running.receiver._arriving_bytes == 3000)
            assert b" 503 " in await answer_to(running.url, half)
        await until(lambda: running.receiver._arriving_bytes == 0)
        assert b" 200 " in await answer_to(
            running.url, HEAD + b"Content-Length: 3000\r\n\r\n", make_body().ljust(3000)
        )


async def test_a_gzip_bomb_is_never_inflated(tmp_path: Path) -> None:
    """It is stored as received, with a problem, and the memory hardly grows."""
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    with ReceiverProcess(tmp_path / "data") as receiver:
        before = receiver.peak_memory_bytes()
        status, document = await post(receiver.url, bomb, **{"Content-Encoding": "gzip"})
        assert (status, document["stored"]) == (400, True)
        assert "gzip" in document["detail"]
        assert receiver.peak_memory_bytes() - before < 30_000_000
        assert receiver.stop() == 0
    (row,) = landed_rows(Landing(str(tmp_path / "data" / "landing")))
    assert row["body"] == bomb
    assert ("content-encoding", "gzip") in row["headers"]


async def test_bytes_that_are_not_http_are_answered_without_quoting_them(tmp_path: Path) -> None:
    """The log and the answer name the kind of error. Neither repeats what may be a secret."""
    with ReceiverProcess(tmp_path / "data") as receiver:
        for line in (b"X-Webhook-Signature: hush\x00hush", b"Authorization hush", b"Content-Length: hush"):
            answer = await answer_to(receiver.url, HEAD + line + b"\r\n\r\n")
            assert b" 400 " in answer
            assert b"hush" not in answer
        assert receiver.stop() == 0
        assert "hush" not in receiver.log


async def test_no_sender_can_fill_the_log(tmp_path: Path) -> None:
    """Of many lines that one fault of a sender makes, only some are written; metrics count all."""
    with ReceiverProcess(tmp_path / "data") as receiver:
        for _ in range(120):
            await answer_to(receiver.url, b"no HTTP\r\n\r\n")
        assert receiver.stop() == 0
        assert receiver.log.count("not valid HTTP") == 50


async def test_bytes_that_are_not_http_are_counted(tmp_path: Path) -> None:
    """They are a refusal like any other."""
    async with serving(tmp_path) as running:
        await answer_to(running.url, b"no HTTP\r\n\r\n")
        assert b'verbex_deliveries_refused_total{reason="no_http"} 1.0' in running.metrics.render()


async def test_logs_are_json_and_hold_no_secret_payload_or_signature(tmp_path: Path) -> None:
    """Every line is JSON, and no line holds anything of what was sent."""
    settings = {"ALLOW_UNSIGNED": "false", "WEBHOOK_SECRETS": "hush-secret", "WEBHOOK_TOKEN": "hush-token"}
    with ReceiverProcess(tmp_path / "data", **settings) as receiver:
        hush = {"X-Webhook-Signature": "t=1,v1=hush", "Cookie": "hush"}
        await post(receiver.url, make_body("hush"), **hush)
        await post(receiver.url, b"hush", Authorization="Bearer hush-token")
        await post(receiver.url, make_body("hush"), Authorization="Bearer hush-token")
        assert receiver.stop() == 0
        lines = [json.loads(line) for line in receiver.log.splitlines()]
        assert {"at", "level", "logger", "message"} <= set(lines[0])
        assert "hush" not in receiver.log


async def test_a_network_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    """It gets 403, and nothing is stored. Its health checks are still answered."""
    peers = PeerPolicy(allowed=(ip_network("192.0.2.0/24"),))
    async with serving(tmp_path, peers=peers) as running, aiohttp.ClientSession() as client:
        assert (await post(running.url, make_body(), **{"X-Forwarded-For": "192.0.2.1"}))[0] == 403
        assert (await client.get(running.url.replace("/webhooks/verbex", "/healthz"))).status == 200
        assert running.stored() == []
    trusting = PeerPolicy(allowed=peers.allowed, proxies=(ip_network("127.0.0.0/8"),))
    async with serving(tmp_path, peers=trusting) as running:
        assert (await post(running.url, make_body(), **{"X-Forwarded-For": "192.0.2.1"}))[0] == 200


ALLOWED, PROXY, ANY = "192.0.2.7", "10.0.0.1", "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "is_allowed"),
    [
        (ALLOWED, [], True),
        (ANY, [], False),
        (None, [], False),
        (f"::ffff:{ALLOWED}", [], True),
        (ANY, [ALLOWED], False),
        (PROXY, [ALLOWED], True),
        (PROXY, [ANY], False),
        (PROXY, [], False),
        (PROXY, [f"{ALLOWED}, {ANY}"], False),
        (PROXY, [f"{ANY}, {ALLOWED}"], True),
        (PROXY, [ANY, f"{ALLOWED}, {PROXY}"], True),
        (PROXY, ["nonsense"], False),
        (PROXY, [f"{ALLOWED}:52344"], True),
        (PROXY, [f"{ALLOWED}:1, {PROXY}:2"], True),
        (PROXY, [f"{ANY}:443"], False),
        (PROXY, [f"{ALLOWED}, {ANY}:80"], False),
        (PROXY, [f"{ALLOWED}:x"], False),
        (PROXY, [f"[{ALLOWED}"], False),
        (PROXY, ["[2001:db8::1]:443"], True),
        (PROXY, ["[2001:db8::1]"], True),
        (PROXY, ["2001:db8::1"], True),
        (PROXY, ["[2001:db9::1]:443"], False),
        (PROXY, [f"{ALLOWED},"], False),
    ],
)
def test_only_what_a_named_proxy_wrote_is_trusted(
    peer: str | None, forwarded_for: list[str], is_allowed: bool
) -> None:
    """The header is read from its end, up to the first address that is not a named proxy."""
    allowed = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
    policy = PeerPolicy(allowed, (ip_network("10.0.0.0/8"),))
    assert policy.is_allowed(peer, forwarded_for) is is_allowed


@given(peer=st.text(), forwarded_for=st.lists(st.text()))
def test_a_hostile_forwarding_header_is_refused_without_an_error(peer: str, forwarded_for: list[str]) -> None:
    """No text in it makes a sender allowed."""
    policy = PeerPolicy((ip_network("192.0.2.0/24"),), (ip_network("10.0.0.0/8"),))
    assert not policy.is_allowed(peer, forwarded_for)


def served_name(port: int) -> bytes:
    """Return the certificate that a new connection gets."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return ssl.PEM_cert_to_DER_cert(pem)


async def test_a_renewed_certificate_is_served_and_no_connection_drops(tmp_path: Path) -> None:
    """New connections get the new certificate, open ones continue, and a bad certificate changes nothing."""
    certificate = Certificate(*make_certificate(tmp_path, "old.example"))
    async with serving(tmp_path / "journal", certificate=certificate) as running:
        port = int(running.url.split(":")[2].split("/")[0])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=1)) as client:
            headers = {"Content-Type": "application/json"}
            assert (await client.post(running.url, data=make_body(), headers=headers)).status == 200
            first = await asyncio.to_thread(served_name, port)
            assert not certificate.reload_if_changed()
            make_certificate(tmp_path, "new.example")
            assert certificate.reload_if_changed()
            second = await asyncio.to_thread(served_name, port)
            (tmp_path / "cert.pem").write_text("half a certif")
            assert not certificate.reload_if_changed()
            third = await asyncio.to_thread(served_name, port)
            assert (await client.post(running.url, data=make_body(), headers=headers)).status == 200
            assert (b"old.example" in first, b"new.example" in second, second == third) == (True, True, True)


@pytest.mark.parametrize("after", KEYS)
@pytest.mark.parametrize("before", KEYS)
async def test_a_certificate_of_another_kind_of_key_is_served_after_its_renewal(
    tmp_path: Path, before: Sequence[str], after: Sequence[str]
) -> None:
    """Certificate authorities change their defaults; the old certificate would be served until it expires."""
    certificate = Certificate(*make_certificate(tmp_path, "old.example", before))
    async with serving(tmp_path / "journal", certificate=certificate) as running:
        port = int(running.url.split(":")[2].split("/")[0])
        assert b"old.example" in await asyncio.to_thread(served_name, port)
        make_certificate(tmp_path, "new.example", after)
        assert certificate.reload_if_changed()
        assert b"new.example" in await asyncio.to_thread(served_name, port)


async def test_a_handshake_that_takes_too_long_ends(tmp_path: Path) -> None:
    """A connection that stays silent, or speaks no TLS, is closed and counted. Nothing else notices it."""
    certificate = Certificate(*make_certificate(tmp_path, "hooks.example", EC))
    async with serving(tmp_path / "journal", certificate=certificate, handshake_timeout_s=0.1) as running:
        for sent in (b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n"):
            async with connected(running.url) as (reader, writer):
                writer.write(sent)
                async with asyncio.timeout(HANG_S):
                    with suppress(ConnectionError):
                        await reader.read()
        assert b'refused_total{reason="tls_handshake"} 3.0' in running.metrics.render()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client:
            headers = {"Content-Type": "application/json"}
            assert (await client.post(running.url, data=make_body(), headers=headers)).status == 200


async def test_a_connection_for_whose_handshake_no_descriptor_is_left_is_closed(tmp_path: Path) -> None:
    """It is counted, and does not stay open with nobody to serve it. Later connections are served."""
    certificate = Certificate(*make_certificate(tmp_path, "hooks.example", EC))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(tmp_path / "journal", certificate=certificate) as running:
        port = int(running.url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setblocking(False)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, before[1]))  # one for the connection
            try:
                await until(lambda: b'refused_total{reason="tls_handshake"} 1.0' in running.metrics.render())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            await until(lambda: is_closed(client))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as sender:
            headers = {"Content-Type": "application/json"}
            assert (await sender.post(running.url, data=make_body(), headers=headers)).status == 200


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed a connection that does not block."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_key_with_a_password_is_refused_without_asking_for_it(tmp_path: Path) -> None:
    """A question at the terminal would block every sender at a renewal."""
    cert, key = make_certificate(tmp_path, "hooks.example")
    locked = tmp_path / "locked.pem"
    command = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(OSError, match="password"):
        Certificate(cert, locked)


async def test_the_process_serves_https_from_certificate_files(tmp_path: Path) -> None:
    """The first line names an https URL, and it works."""
    cert, key = make_certificate(tmp_path, "hooks.example")
    with ReceiverProcess(tmp_path / "data", TLS_CERT=str(cert), TLS_KEY=str(key)) as receiver:
        assert receiver.url.startswith("https://")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client:
            headers = {"Content-Type": "application/json"}
            assert (await client.post(receiver.url, data=make_body(), headers=headers)).status == 200
        assert receiver.stop() == 0


async def test_workers_share_only_a_port(tmp_path: Path) -> None:
    """Each has its own journal, together they store everything, and each can give all metrics."""
    data_dir = tmp_path / "data"
    with ReceiverProcess(data_dir, WORKERS="3") as receiver:
        for number in range(40):  # a connection each, for the kernel to spread
            assert (await post(receiver.url, make_body(f"trace-{number}")))[0] == 200
        async with aiohttp.ClientSession() as client:
            response = await client.get(receiver.url.replace("/webhooks/verbex", "/metrics"))
            text = await response.text()
        assert 'verbex_deliveries_stored_total{is_event="true",verified_by="unsigned"} 40.0' in text
        assert receiver.stop() == 0
    rows = landed_rows(Landing(str(data_dir / "landing")))
    assert sorted(row["trace_id"] for row in rows) == sorted(f"trace-{number}" for number in range(40))
    assert len({row["receiver_id"] for row in rows}) > 1
    assert sorted(path.name for path in (data_dir / "journal").iterdir()) == ["0", "1", "2"]


async def test_workers_need_nothing_of_the_folder_for_temporary_files(tmp_path: Path) -> None:
    """The system cleans it while they run, and people their data folder. A worker that dies is replaced."""
    with ReceiverProcess(tmp_path / "data", WORKERS="2") as receiver:
        for left in tmp_path.glob("verbex-metrics-*"):  # the receiver's folder for temporary files
            shutil.rmtree(left)
        lock = tmp_path / "data" / "journal" / "1" / "lock"
        first = int(lock.read_text())
        os.kill(first, signal.SIGKILL)
        await until(lambda: lock.read_text().strip() not in ("", str(first)))
        assert (await post(receiver.url, make_body()))[0] == 200
        async with aiohttp.ClientSession() as client:
            response = await client.get(receiver.url.replace("/webhooks/verbex", "/metrics"))
            assert 'verified_by="unsigned"} 1.0' in await response.text()
            shutil.rmtree(tmp_path / "data" / "metrics")
            second = int(lock.read_text())
            os.kill(second, signal.SIGKILL)
            await until(lambda: lock.read_text().strip() not in ("", str(second)))
            for _ in range(8):  # whichever worker answers
                assert (await client.get(receiver.url.replace("/webhooks/verbex", "/metrics"))).status == 200
        assert receiver.stop() == 0


async def test_fewer_workers_land_what_more_workers_left_behind(tmp_path: Path) -> None:
    """Worker 0 lands the journal of a worker that is no longer started."""
    data_dir = tmp_path / "data"
    with ReceiverProcess(data_dir, SEAL_INTERVAL_S="3600") as receiver:
        await post(receiver.url, make_body("left behind"))
        receiver.kill()
    (data_dir / "journal" / "0").rename(data_dir / "journal" / "7")
    with ReceiverProcess(data_dir) as receiver:
        assert receiver.stop() == 0
    assert [row["trace_id"] for row in landed_rows(Landing(str(data_dir / "landing")))] == ["left behind"]
