"""From a 2xx to the row in the published `calls`: how long it takes, with everything running for real.

    python tests/benchmarks/freshness.py --rate 100 --duration-s 300 [--dagster-dev]
    python tests/benchmarks/freshness.py --rate 20 --duration-s 60 --files 0 100000

Starts a receiver and either `verbex-sync sync --follow` or `dagster dev` in a folder of its own, sends call
starts at a steady rate, and looks at the published file ten times a second. Prints percentiles in seconds,
and how much Dagster's own storage grew. With `--files`, one line for each number of files of one event that
today's folder has got before, loaded and merged as they are after a day.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

LOG = "log"
IDLE_S = 10
BODY = b'{"traceId": "before-%d", "eventName": "Test", "timestamp": %d}'
ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.receiver import ReceiverProcess, until  # noqa: E402

from connector.journal.delivery import Delivery, Group, to_batch  # noqa: E402
from connector.simulator.sender import SendOptions, send  # noqa: E402
from connector.simulator.world import World  # noqa: E402
from pipelines.instance.home import make_home, own_home  # noqa: E402


class EndedError(Exception):
    """What is measured has ended by itself."""


@contextmanager
def running(command: list[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in a session of its own, ended with all its children."""
    with (folder / LOG).open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, start_new_session=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


class Watch:
    """When each call was first seen in the published file."""

    def __init__(self, published: Path) -> None:
        self.seen_at_s: dict[str, float] = {}
        self._published = published
        self._newest = "1970-01-01"

    async def run(self) -> None:
        """Look ten times a second."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(0.1)

    def _look(self) -> None:
        if not self._published.exists():
            return
        with duckdb.connect(str(self._published), read_only=True) as connection:
            rows = connection.execute(
                "select call_id, updated_at::varchar from calls where updated_at >= ?::timestamptz",
                [self._newest],
            ).fetchall()
        now_s = time.time()
        for call_id, updated_at in rows:
            self.seen_at_s.setdefault(call_id, now_s)
            self._newest = max(self._newest, updated_at)


async def measure(
    folder: Path, process: "subprocess.Popen[bytes]", rate: float, duration_s: float
) -> list[float]:
    """Seconds from each acknowledgement to the row, in the order of sending.

    Raises:
        EndedError: What keeps the tables fresh has ended, so that no row would ever come.
    """
    data_dir = folder / "data"
    world = World.build(calls=int(rate * duration_s))
    planned = world.deliveries(duplicates=0, disorder=0)
    deliveries = [delivery for delivery in planned if delivery.event.name.endswith("CallStarted")]
    watch = Watch(data_dir / "warehouse.duckdb")
    acked_at_s: dict[str, float] = {}
    with ReceiverProcess(data_dir, SEAL_INTERVAL_S=os.environ.get("VERBEX_SEAL_INTERVAL_S", "1")) as receiver:
        task = asyncio.create_task(watch.run())

        def note(done: int, _: int) -> None:
            acked_at_s[str(deliveries[done - 1].event.call_id)] = time.time()
            if process.poll() is not None:
                raise EndedError

        def is_seen() -> bool:
            return process.poll() is not None or watch.seen_at_s.keys() >= acked_at_s.keys()

        await send(deliveries, SendOptions(url=receiver.url, rate_per_s=rate, concurrency=1), note)
        await until(is_seen)
        task.cancel()
    if process.poll() is not None:
        raise EndedError
    return [watch.seen_at_s[call_id] - at_s for call_id, at_s in acked_at_s.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="events a second")
    parser.add_argument("--duration-s", type=float, default=300)
    parser.add_argument("--dagster-dev", action="store_true", help="only the sensor, no follow mode")
    parser.add_argument("--files", type=int, nargs="+", default=[0], help="files in today's folder before")
    options = parser.parse_args()
    print("| files before | rows | p50 s | p90 s | p99 s | max s | CPU cores idle | Dagster storage |")
    print("|---|---|---|---|---|---|---|---|")
    for files in options.files:
        measure_with(files, options)


def measure_with(files: int, options: argparse.Namespace) -> None:
    """Measure with this many files in today's folder, and print one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = own_home(folder / "data")
        make_home(home)
        os.environ |= {"DAGSTER_HOME": str(home), "VERBEX_DATA_DIR": str(folder / "data")}
        sync = [sys.executable, "-m", "pipelines.cli", "sync"]
        dev = [str(Path(sys.executable).parent / "dagster"), "dev", "-m", "pipelines.definitions", "-p", "0"]
        if files:
            land(folder / "data", files)
            subprocess.run(sync, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with running(dev if options.dagster_dev else [*sync, "--follow"], folder) as process:
            time.sleep(20 if options.dagster_dev else 8)
            used_s = cpu_s(process.pid)
            time.sleep(IDLE_S)
            idle_cores = (cpu_s(process.pid) - used_s) / IDLE_S
            before = storage_bytes(home)
            try:
                measured = asyncio.run(measure(folder, process, options.rate, options.duration_s))
            except (EndedError, TimeoutError):
                print((folder / LOG).read_text()[-4000:])
                raise SystemExit("The rows did not all appear; above is the end of the log.") from None
        grown = storage_bytes(home) - before
        lags_s = sorted(measured)
    cut = statistics.quantiles(lags_s, n=100)
    figures = " | ".join(f"{value:.2f}" for value in (cut[49], cut[89], cut[98], lags_s[-1], idle_cores))
    print(f"| {files} | {len(lags_s)} | {figures} | {grown / 1e6:.2f} MB |", flush=True)


def land(data_dir: Path, count: int) -> None:
    """Land `count` files of one event each, received today, as a receiver does that seals every second."""
    now = datetime.now(UTC)
    folder = data_dir / "landing" / f"date={now:%Y-%m-%d}"
    folder.mkdir(parents=True)
    receiver = f"{now:%Y%m%d}T000000Z-0123456789ab"
    for number in range(count):
        body = BODY % (number, int(now.timestamp()))
        delivery = Delivery(int(now.timestamp() * 1e6), f"before-{number}", "Test", "token", None, {}, body)
        table = pa.Table.from_batches([to_batch(receiver, [Group(number, [delivery])])])
        # Without the fsync of each, which takes most of the time.
        pq.write_table(table, folder / f"{receiver}-{number:06d}.parquet", compression="zstd")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def storage_bytes(home: Path) -> int:
    """What Dagster keeps on disk."""
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
