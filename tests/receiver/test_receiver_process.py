"""The receiver as a process: its start, its orderly end, and kills that lose nothing acknowledged."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from support.certificate import make_certificate
from support.deadline import HANG_S
from support.receiver import SECRET, ReceiverProcess, connected, landed_rows, make_body, until

from connector.landing.files import Landing
from connector.verbex.signature import SIGNATURE_HEADER, sign

CONNECTIONS = 32
JSON = {"Content-Type": "application/json"}


class Flood:
    """Senders that deliver one event after the other until the receiver ends or `stop` is called."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self._numbers = count()
        self._is_over = False

    async def run(self, url: str) -> None:
        """Deliver over many connections until the receiver ends or `stop` is called."""
        self._is_over = False
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector, headers=JSON) as client:
            await asyncio.gather(*(self._deliver(client, url) for _ in range(CONNECTIONS)))

    def stop(self) -> None:
        """Start no more deliveries."""
        self._is_over = True

    async def reach(self, amount: int) -> None:
        """Wait until `amount` more deliveries are acknowledged."""
        goal = len(self.acknowledged) + amount
        while len(self.acknowledged) < goal:  # noqa: ASYNC110 - the senders set no event
            await asyncio.sleep(0.001)

    async def _deliver(self, client: aiohttp.ClientSession, url: str) -> None:
        while not self._is_over:
            trace_id = f"trace-{next(self._numbers)}"
            body = make_body(trace_id)
            try:
                async with client.post(url, data=body) as response:
                    if response.status == 200:
                        self.acknowledged[trace_id] = body
            except aiohttp.ClientError:
                return


async def flood_and_kill(data_dir: Path, flood: Flood, chance: random.Random) -> None:
    """Start a receiver, and kill it at a random moment of a flood."""
    with ReceiverProcess(data_dir, SEAL_BYTES="20000") as receiver:
        running = asyncio.create_task(flood.run(receiver.url))
        await flood.reach(chance.randrange(1, 300))
        receiver.kill()
        await running


@contextmanager
def a_reader_that_never_fails(data_dir: Path) -> Iterator[None]:
    """Read all landed rows again and again during the block. Half a file would be an error."""
    landing, is_over, looks = Landing(str(data_dir / "landing")), threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            looks.append(len(landed_rows(landing)))

    watcher = threading.Thread(target=look)  # pytest fails the test if it dies of an error
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    assert looks == sorted(looks)


def assert_nothing_is_lost(data_dir: Path, flood: Flood) -> None:
    """Assert that every acknowledged event is landed, byte for byte, and no delivery is landed twice."""
    rows = landed_rows(Landing(str(data_dir / "landing")))
    landed = {row["trace_id"]: row["body"] for row in rows}
    missing = [trace_id for trace_id, body in flood.acknowledged.items() if landed.get(trace_id) != body]
    assert missing == []
    assert len({(row["receiver_id"], row["sequence"]) for row in rows}) == len(rows)


async def test_kills_in_a_flood_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After SIGKILLs at random moments, each acknowledged delivery is landed once."""
    data_dir, flood, chance = tmp_path / "data", Flood(), random.Random(7)
    with a_reader_that_never_fails(data_dir):
        for _ in range(4):
            await flood_and_kill(data_dir, flood, chance)
        with ReceiverProcess(data_dir) as receiver:
            assert receiver.stop() == 0
    assert_nothing_is_lost(data_dir, flood)


async def test_a_stop_signal_in_a_flood_drains_seals_and_exits(tmp_path: Path) -> None:
    """No acknowledged event is left in the journal, and the exit code is 0."""
    data_dir, flood = tmp_path / "data", Flood()
    with ReceiverProcess(data_dir, SEAL_INTERVAL_S="3600") as receiver:
        running = asyncio.create_task(flood.run(receiver.url))
        await flood.reach(200)
        assert await asyncio.to_thread(receiver.stop) == 0
        await running
    assert_nothing_is_lost(data_dir, flood)
    assert list((data_dir / "journal").rglob("*.segment")) == []


async def test_deliveries_land_while_the_receiver_runs(tmp_path: Path) -> None:
    """An event is landed without a stop of the receiver."""
    landing = Landing(str(tmp_path / "data" / "landing"))
    with ReceiverProcess(tmp_path / "data") as receiver:
        async with aiohttp.ClientSession(headers=JSON) as client:
            await client.post(receiver.url, data=make_body("a"))
        await until(lambda: bool(landed_rows(landing)))
    assert [row["trace_id"] for row in landed_rows(landing)] == ["a"]


async def test_the_first_line_names_url_authentication_and_folders(tmp_path: Path) -> None:
    """The line shows the real port, and the receiver does what the line says."""
    landing = str(tmp_path / "landing")
    settings = {"ALLOW_UNSIGNED": "false", "WEBHOOK_SECRETS": f"old, {SECRET}", "LANDING_URL": landing}
    with ReceiverProcess(tmp_path / "data", **settings) as receiver:
        stores = f"stores in {tmp_path / 'data'}, lands in {landing}"
        line = f"listening on {receiver.url}, authenticates by signature, {stores}"
        assert receiver.line == f"verbex-sync: {line}"
        body = make_body()
        signature = {SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=1)}
        async with aiohttp.ClientSession(headers=JSON) as client:
            assert (await client.post(receiver.url, data=body)).status == 401
            response = await client.post(receiver.url, data=body, headers=signature)
            assert "clock" in (await response.json(content_type=None))["detail"]
        assert receiver.stop() == 0
        assert SECRET not in receiver.log + receiver.line


def run_to_its_end(data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a receiver that is expected to end by itself."""
    environment = os.environ | {"VERBEX_DATA_DIR": str(data_dir), "VERBEX_PORT": "0"} | settings
    command = [sys.executable, "-m", "connector.serve"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_a_receiver_that_would_accept_no_sender_exits_with_2(tmp_path: Path) -> None:
    """It names the setting to set, does not listen, and leaves no folder."""
    ended = run_to_its_end(tmp_path / "data")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "VERBEX_WEBHOOK_SECRETS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


async def test_idle_connections_leave_the_journal_its_descriptors(tmp_path: Path) -> None:
    """With a low limit on open files, later senders get 503, and the first ones are still served."""
    few = ["bash", "-c", 'ulimit -n 160; exec "$@"', "-"]
    with ReceiverProcess(tmp_path / "data", wrapper=few) as receiver:
        async with AsyncExitStack() as stack:
            reader, writer = await stack.enter_async_context(connected(receiver.url))
            others = [await stack.enter_async_context(connected(receiver.url)) for _ in range(200)]
            assert b" 503 " in await others[-1][0].readline()
            for number in range(3):  # each into its own segment
                body = make_body(f"trace-{number}")
                head = f"POST /webhooks/verbex HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                assert b" 200 " in await reader.readline()
                await reader.readuntil(b"}")
                await until(lambda: not list((tmp_path / "data" / "journal" / "0").glob("*.segment")))
        assert receiver.stop() == 0
        assert "error" not in receiver.log


SILENT_CONNECTIONS = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(1500)]
print("connected", flush=True)
sys.stdin.read()
"""
SHAKE_HANDS = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
kept = []
for _ in range(600):
    try:
        kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10))
        kept[-1] = context.wrap_socket(kept[-1])
    except OSError:
        pass
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("script", "reason", "has_room"),
    [
        pytest.param(SILENT_CONNECTIONS, "tls_handshake", True, id="that begin no handshake"),
        pytest.param(SHAKE_HANDS, "connections", False, id="that are turned away after it"),
    ],
)
async def test_tls_connections_leave_the_journal_its_descriptors(
    tmp_path: Path, script: str, reason: str, has_room: bool
) -> None:
    """However many there are, segments open, and open senders are served; new ones too if there is room."""
    cert, key = make_certificate(tmp_path, "hooks.example")
    few = ["bash", "-c", 'ulimit -n 300; exec "$@"', "-"]
    tls = {"TLS_CERT": str(cert), "TLS_KEY": str(key)}
    with ReceiverProcess(tmp_path / "data", wrapper=few, **tls) as receiver:
        port = receiver.url.split(":")[2].split("/")[0]

        async def deliver(sender: aiohttp.ClientSession, trace_id: str) -> None:
            async with sender.post(receiver.url, data=make_body(trace_id)) as answer:
                assert answer.status == 200

        async with tls_sender() as open_one:
            await deliver(open_one, "first")
            flood = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", script, port), stdout=subprocess.PIPE, stdin=subprocess.PIPE
            )
            assert flood.stdout is not None
            assert await flood.stdout.readline() == b"connected\n"
            for number in range(3):  # each into its own segment
                await deliver(open_one, f"open-{number}")
                if has_room:
                    async with tls_sender() as new_one:
                        await deliver(new_one, f"new-{number}")
                await until(lambda: not list((tmp_path / "data" / "journal" / "0").glob("*.segment")))
            metrics = await (await open_one.get(receiver.url.replace("/webhooks/verbex", "/metrics"))).text()
            assert f'refused_total{{reason="{reason}"}}' in metrics
            assert "verbex_journal_failures_total 0.0" in metrics
            assert "verbex_seal_failures_total 0.0" in metrics
            await flood.communicate(b"")
        assert receiver.stop() == 0
    assert len(landed_rows(Landing(str(tmp_path / "data" / "landing")))) == 4 + 3 * has_room


def tls_sender() -> aiohttp.ClientSession:
    """Return a sender of JSON that takes any certificate."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), headers=JSON)


async def test_a_second_start_does_not_change_the_metrics_of_the_first(tmp_path: Path) -> None:
    """If several workers are started twice by mistake, the first ones keep counting."""
    with ReceiverProcess(tmp_path / "data", WORKERS="2") as first:
        async with aiohttp.ClientSession(headers=JSON) as client:
            await client.post(first.url, data=make_body())
            ended = run_to_its_end(tmp_path / "data", VERBEX_ALLOW_UNSIGNED="true", VERBEX_WORKERS="2")
            assert ended.returncode == 1
            metrics = await client.get(first.url.replace("/webhooks/verbex", "/metrics"))
            assert 'verified_by="unsigned"} 1.0' in await metrics.text()


def test_a_second_receiver_on_one_journal_refuses_and_names_the_first(tmp_path: Path) -> None:
    """If it is started twice by mistake, the second exits with 1 and names the process of the first."""
    with ReceiverProcess(tmp_path / "data") as first:
        ended = run_to_its_end(tmp_path / "data", VERBEX_ALLOW_UNSIGNED="true")
        assert ended.returncode == 1
        assert str(first.process.pid) in ended.stderr
        assert "Traceback" not in ended.stderr
        assert first.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_an_error_that_names_it(tmp_path: Path, workers: str) -> None:
    """The receiver exits with 1, and the error names the port, without a traceback."""
    with ReceiverProcess(tmp_path / "first") as first:
        port = first.url.split(":")[2].split("/")[0]
        settings = {"VERBEX_ALLOW_UNSIGNED": "true", "VERBEX_PORT": port, "VERBEX_WORKERS": workers}
        ended = run_to_its_end(tmp_path / "second", **settings)
        assert ended.returncode == 1
        assert port in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_before_it_listens_ends_it_in_order(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    """All processes get the signal, as a service manager or Ctrl-C sends it, and none leaves a traceback."""
    environment = os.environ | {"VERBEX_DATA_DIR": str(tmp_path / "data"), "VERBEX_PORT": "0"}
    environment |= {"VERBEX_ALLOW_UNSIGNED": "true", "VERBEX_WORKERS": workers}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "connector.serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    while not (tmp_path / "data").exists():
        assert process.poll() is None
    os.killpg(process.pid, number)
    assert process.wait(HANG_S) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
async def test_sixty_kills_in_a_flood_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """This is the same test with enough kills to hit rare moments."""
    data_dir, flood, chance = tmp_path / "data", Flood(), random.Random(11)
    with a_reader_that_never_fails(data_dir):
        for _ in range(60):
            await flood_and_kill(data_dir, flood, chance)
        with ReceiverProcess(data_dir) as receiver:
            assert receiver.stop() == 0
    assert_nothing_is_lost(data_dir, flood)
