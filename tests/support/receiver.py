"""Helpers for the tests of the receiver: deliveries with good defaults, and a real receiver process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pyarrow as pa
from aiohttp import web

from connector.journal.delivery import Delivery
from connector.journal.group_commit import Journal
from connector.journal.seal import Sealer
from connector.journal.segment_reader import SegmentReader
from connector.landing.files import Landing
from connector.landing.zones import EVENT_SCHEMA, EVENTS
from connector.metrics import Metrics
from connector.receiver.auth import Authenticator
from connector.receiver.handler import WEBHOOK_PATH, Receiver
from connector.receiver.peers import LOOPBACK, PeerPolicy
from connector.receiver.redaction import Redactor
from connector.receiver.server import Server
from connector.receiver.tls import Certificate
from support.deadline import HANG_S

SECRET = "a signing secret"
SEED_FOLDER = Path(__file__).parents[1] / "data" / "seed"
SEED_BODIES = {path.stem: path.read_bytes() for path in sorted(SEED_FOLDER.glob("*.json"))}
NOON_US = 1_762_689_600_000_000
"""2025-11-09 12:00 UTC."""

_numbers = count(1)


def make_body(trace_id: str | None = None, **changes: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the body of a CallStarted event. `changes` replace or add members at the top level."""
    event: dict[str, Any] = json.loads(SEED_BODIES["call_started"])
    event["traceId"] = trace_id or f"trace-{next(_numbers)}"
    return json.dumps(event | changes).encode()


def make_delivery(
    body: bytes = b"{}", *, received_at_us: int = NOON_US, trace_id: str | None = "a"
) -> Delivery:
    """Return a delivery as the receiver makes it."""
    headers = {"content-type": "application/json"}
    return Delivery(received_at_us, trace_id, "CallHandler.CallStarted", "unsigned", None, headers, body)


def read_segment(path: Path) -> tuple[pa.Table, int]:
    """Return all deliveries of a segment, and the number of torn bytes at its end."""
    reader = SegmentReader(path)
    table = pa.Table.from_batches(reader.batches(), EVENT_SCHEMA)
    return table, reader.torn_bytes


def landed_rows(landing: Landing) -> list[dict[str, Any]]:
    """Return all landed deliveries, in the order of files."""
    tables = [landing.read(file, EVENT_SCHEMA) for file in landing.list_files(EVENTS)]
    rows: list[dict[str, Any]] = pa.concat_tables([EVENT_SCHEMA.empty_table(), *tables]).to_pylist()
    return rows


async def seal_all(journal_folder: Path, landing: Path | str, *, adopted: Path | None = None) -> Metrics:
    """Start a journal on a folder, land all that is in it, and return the metrics of that run."""
    metrics = Metrics()
    journal = Journal(journal_folder, "sealing", metrics, segment_bytes=1, segment_age_s=1)
    if adopted is not None:
        journal.adopt(adopted)
    journal.start()
    sealer = Sealer(journal, lambda: Landing(str(landing)), metrics, interval_s=1)
    sealer.stop()
    await sealer.run()
    await journal.drain()
    journal.close()
    assert sealer.failure is None
    return metrics


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true."""
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def post(url: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send one delivery over its own connection, and return status and document."""
    given = {"Content-Type": "application/json"} | headers
    async with aiohttp.ClientSession() as client, client.post(url, data=body, headers=given) as response:
        return response.status, await response.json(content_type=None)


class Serving:
    """A receiver in this process, on a free port, and the rows that it stored."""

    def __init__(self, journal: Journal, receiver: Receiver, url: str, metrics: Metrics) -> None:
        self.journal = journal
        self.receiver = receiver
        self.url = url
        self.metrics = metrics

    def stored(self) -> list[dict[str, Any]]:
        """Return every row in the journal."""
        paths = sorted(self.journal.folder.glob("*.segment"))
        return [row for path in paths for row in read_segment(path)[0].to_pylist()]


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    authenticator: Authenticator = Authenticator((), None, allow_unsigned=True, tolerance_s=300),  # noqa: B008
    peers: PeerPolicy = PeerPolicy(),  # noqa: B008
    ops: PeerPolicy = LOOPBACK,
    redactor: Redactor = Redactor(),  # noqa: B008
    max_body_bytes: int = 10_000,
    clock_ns: Callable[[], int] = lambda: NOON_US * 1000,
    certificate: Certificate | None = None,
    **limits: Any,  # noqa: ANN401
) -> AsyncIterator[Serving]:
    """Serve at a fixed time, unsigned by default. `limits` are those of the server."""
    metrics = Metrics()
    journal = Journal(folder, "r", metrics, segment_bytes=1 << 20, segment_age_s=3600)
    journal.start()
    receiver = Receiver(
        journal,
        authenticator,
        metrics,
        peers=peers,
        ops=ops,
        redactor=redactor,
        max_body_bytes=max_body_bytes,
        clock_ns=clock_ns,
    )
    server = Server(receiver, metrics, certificate=certificate, **limits)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scheme = "https" if certificate else "http"
    url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}{WEBHOOK_PATH}"
    running = Serving(journal, receiver, url, metrics)
    try:
        yield running
    finally:
        await runner.cleanup()
        await journal.drain()
        journal.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a plain connection to a receiver."""
    host, port = url.split("//")[1].split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


class ReceiverProcess:
    """A receiver in its own process, on a free port. It ends when the block ends."""

    def __init__(self, data_dir: Path, *, wrapper: Sequence[str] = (), **environment: str) -> None:
        settings = {
            "DATA_DIR": str(data_dir),
            "PORT": "0",
            "ALLOW_UNSIGNED": "true",
            "SEAL_INTERVAL_S": "0.2",
        }
        given = {name.removeprefix("VERBEX_"): value for name, value in environment.items()}
        self.data_dir = data_dir
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self._environment = os.environ | {
            f"VERBEX_{name}": value for name, value in (settings | given).items()
        }
        self._environment["TMPDIR"] = str(data_dir.parent)  # a kill leaves in it what several workers share
        self._command = [*wrapper, sys.executable, "-m", "connector.serve"]

    def __enter__(self) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()
        assert "listening on" in self.line, self.log_path.read_text()
        self.url = self.line.split("listening on ")[1].split(",")[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def log(self) -> str:
        """Everything it wrote to standard error."""
        return self.log_path.read_text()

    def peak_memory_bytes(self) -> int:
        """Return the largest amount of resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def kill(self) -> None:
        """Send SIGKILL, so that the process can't clean up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANG_S)
