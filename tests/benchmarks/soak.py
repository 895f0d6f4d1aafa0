"""An hour of everything at once, with faults in turn, and then the proof that nothing is lost.

    python tests/benchmarks/soak.py --rate 100 --duration-s 3600

A receiver, `verbex-sync sync --follow` and `verbex-sync ui` run on one data folder, each as its own process.
Landing is a bucket of a real S3 server; receiver, follower and bucket each have faults: the store refuses or
hangs, the disk fills up, a clock jumps, a process is killed, Verbex's API answers with errors. After the last
event it is shown that every acknowledged event is in the tables once, and that a rebuild is equal. Needs root
(a small disk is mounted) and a C compiler.
"""

import argparse
import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from pyarrow import fs

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.disk import mounted  # noqa: E402
from support.shifted_clock import ShiftedClock  # noqa: E402

from connector.simulator.api import ApiServer  # noqa: E402
from connector.simulator.faults import Faults  # noqa: E402
from connector.simulator.run import recent_start  # noqa: E402
from connector.simulator.sender import SendOptions, SendReport, send  # noqa: E402
from connector.simulator.world import World  # noqa: E402

BUCKET = "soak"
DISK_OPTIONS = "size=9g"  # three warehouse files of some 2.5 GB after an hour at 100 events/s
FAULT_S, PAUSE_S = 40, 35
Fault = Callable[[], Awaitable[None]]


class Gate:
    """A way to a port that can be shut: connections are refused, or nothing passes."""

    def __init__(self, port: int) -> None:
        self.state = "open"
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listen, and return the port."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def shut(self, state: str) -> None:
        """Shut it for a while, with all that passes at the moment."""
        self.state = state
        if state == "refused":
            for writer in list(self._writers):
                writer.transport.abort()
        await asyncio.sleep(FAULT_S)
        self.state = "open"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state == "refused":
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._writers -= {writer, far_writer}
        writer.close()
        far_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            while self.state == "hung":  # noqa: ASYNC110 - a fault, and not a wait for an event
                await asyncio.sleep(0.2)
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass
class Process:
    """A command that is started again if it was killed."""

    words: list[str]
    folder: Path
    environment: dict[str, str]
    starts: int = 0
    running: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Start it, with its output in a file named after its first word."""
        self.starts += 1
        with (self.folder / f"{self.words[0]}.log").open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *self.words],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )

    async def die(self) -> None:
        """Kill it, and start it again after some seconds."""
        assert self.running is not None
        self.running.kill()
        await asyncio.to_thread(self.running.wait)
        await asyncio.sleep(5)
        self.start()

    async def stop(self) -> int:
        """Stop it as a service manager does, and return its exit code."""
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.running.wait, 120)

    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self.running is not None and self.running.poll() is not None


async def soak(folder: Path, rate: float, duration_s: float) -> bool:
    """Run everything, and return whether all of the proof holds."""
    world = World.build(calls=int(rate * duration_s / 3.2), start_at=recent_start(datetime.now(UTC)))
    deliveries = world.deliveries(duplicates=0.05, disorder=0.1)[: int(rate * duration_s)]
    clocks = {name: ShiftedClock(folder / name) for name in ("receiver", "follower")}
    async with AsyncExitStack() as stack:
        gate = Gate(await stack.enter_async_context(object_store(folder)))
        api = await stack.enter_async_context(ApiServer(world))
        port = free_port()
        settings = {
            "VERBEX_DATA_DIR": str(folder / "disk" / "data"),
            "VERBEX_LANDING_URL": f"s3://{BUCKET}/landing",
            "VERBEX_PORT": str(port),
            "VERBEX_ALLOW_UNSIGNED": "true",
            "VERBEX_API_URL": api.url,
            "VERBEX_API_KEY": api.api_key,
            "VERBEX_API_RPS": "200",
            "VERBEX_SEAL_INTERVAL_S": "2",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{await gate.start()}",
        }
        receiver = Process(["serve"], folder, settings | clocks["receiver"].environment)
        follower = Process(["sync", "--follow"], folder, settings | clocks["follower"].environment)
        ui = Process(["ui", "--port", "0"], folder, settings)
        processes = (receiver, follower, ui)
        for process in processes:
            process.start()
            await asyncio.sleep(5)
        faults = asyncio.create_task(
            cause(list_faults(folder / "disk", gate, api, clocks, receiver, follower), processes)
        )
        options = SendOptions(f"http://127.0.0.1:{port}/webhooks/verbex", rate_per_s=rate, tries=60)
        report = await send(deliveries, options)
        faults.cancel()
        gate.state, api.faults = "open", Faults()
        for clock in clocks.values():
            clock.shift(0)
        (folder / "disk" / "filler").unlink(missing_ok=True)
        await asyncio.sleep(30)
        codes = [await process.stop() for process in processes]
        print(f"exit codes {codes}, starts {[process.starts for process in processes]}", flush=True)
        return await prove(folder, settings, report)


def list_faults(
    disk: Path,
    gate: Gate,
    api: ApiServer,
    clocks: dict[str, ShiftedClock],
    receiver: Process,
    follower: Process,
) -> dict[str, Fault]:
    """List what goes wrong, by name."""

    async def wrong_clock(name: str, offset_s: int) -> None:
        clocks[name].shift(offset_s)
        await asyncio.sleep(FAULT_S)
        clocks[name].shift(0)

    async def full_disk() -> None:
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(1 << 20))
        await asyncio.sleep(FAULT_S)
        (disk / "filler").unlink()

    async def broken_api() -> None:
        api.faults = Faults.evenly(0.6)
        await asyncio.sleep(FAULT_S)
        api.faults = Faults()

    return {
        "store refuses": lambda: gate.shut("refused"),
        "receiver's clock an hour ahead": lambda: wrong_clock("receiver", 3600),
        "disk full": full_disk,
        "follower killed": follower.die,
        "follower's clock two days ahead": lambda: wrong_clock("follower", 172_800),
        "store hangs": lambda: gate.shut("hung"),
        "receiver killed": receiver.die,
        "receiver's clock ten minutes behind": lambda: wrong_clock("receiver", -600),
        "API answers with errors": broken_api,
        "receiver's clock two days ahead": lambda: wrong_clock("receiver", 172_800),
        "follower's clock an hour behind": lambda: wrong_clock("follower", -3600),
    }


async def cause(faults: dict[str, Fault], processes: tuple[Process, ...]) -> None:
    """Cause one fault after the other, with pauses, until cancelled."""
    for name, fault in itertools.cycle(faults.items()):
        await asyncio.sleep(PAUSE_S)
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", flush=True)
        await fault()
        for process in processes:
            if process.has_ended():
                print(f"{datetime.now(UTC):%H:%M:%S} ENDED BY ITSELF: {process.words}", flush=True)
                process.start()


async def prove(folder: Path, settings: dict[str, str], report: SendReport) -> bool:
    """Sync once more, and compare with what was acknowledged, and with a rebuild."""
    synced = await run(folder, settings, "sync")
    for _ in range(
        10
    ):  # a run that a sensor of `ui` started goes on after `ui`, and a sync waits a minute for it
        synced = synced and await run(folder, settings, "sync")
    rebuilt = await run(folder, settings, "verify", "--rebuild")
    with duckdb.connect(f"{settings['VERBEX_DATA_DIR']}/warehouse.duckdb", read_only=True) as connection:
        counts = connection.execute("select trace_id, deliveries from events").fetchall()
        fetched = connection.execute("select pca_status, count(*) from calls group by all").fetchall()
    stored = {trace_id for trace_id, _ in counts}
    lost = report.acknowledged.keys() - stored
    print(f"answers by status {dict(report.statuses)}; never acknowledged {len(report.given_up)}")
    print(f"acknowledged {report.acknowledged.total()}, distinct {len(report.acknowledged)}")
    print(f"events {len(stored)}, deliveries {sum(count for _, count in counts)}, LOST {len(lost)}")
    print(f"calls by pca_status {dict(fetched)}")
    print(f"sync {synced}, verify --rebuild {rebuilt}", flush=True)
    return not lost and len(counts) == len(stored) and synced == 0 and rebuilt == 0


async def run(folder: Path, settings: dict[str, str], *words: str) -> int:
    """Run a command to its end, show the end of its output, and return its exit code."""
    command = [sys.executable, "-m", "pipelines.cli", *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | settings, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    print(f"$ verbex-sync {' '.join(words)}\n{output.decode()[-1500:]}", flush=True)
    return process.returncode or 0


@asynccontextmanager
async def object_store(folder: Path) -> AsyncIterator[int]:
    """Serve an empty bucket by an S3 server of its own, and give its port."""
    port = free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "for-a-test", "AWS_SECRET_ACCESS_KEY": "for-a-test"}
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "store.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            with suppress(OSError):
                url = f"http://127.0.0.1:{port}"
                store = fs.S3FileSystem(endpoint_override=url, allow_bucket_creation=True)
                await asyncio.to_thread(store.create_dir, BUCKET)
                break
            await asyncio.sleep(0.2)
        yield port
    finally:
        process.kill()
        await process.wait()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="events a second")
    parser.add_argument("--duration-s", type=float, default=3600)
    parser.add_argument("--folder", type=Path, help="keep everything here, to look at it later")
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with mounted(folder / "disk", DISK_OPTIONS):
            is_proven = asyncio.run(soak(folder, options.rate, options.duration_s))
    print(f"{'PROVEN' if is_proven else 'FAILED'} after {time.monotonic() - began_s:.0f} s")
    raise SystemExit(not is_proven)


if __name__ == "__main__":
    main()
