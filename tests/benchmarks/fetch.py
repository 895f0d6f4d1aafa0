"""Fetching measured: our client with storage against a bare aiohttp client, on one simulated Verbex.

Run as `python tests/benchmarks/fetch.py`; it takes some two minutes and prints one table. All figures of a
run come from one machine and one sitting, sides interleaved, so that their ratios mean something. The server
has a process of its own; where it is the slower side, rates come out alike, and the CPU time a request
costs the client tells them apart.
"""

import asyncio
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from connector.fetch.calls import Due, fetch_due
from connector.landing.files import Landing
from connector.landing.zones import ANSWER_SCHEMA, PCA
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer, LoggedRequest
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.system.loop import run

CALLS = 10_000
REPEATS = 3
CONCURRENCIES = (8, 64)
MANY_DUE = 100_000
SPAWN = multiprocessing.get_context("spawn")
Fetch = Callable[[str, list[Due], int], Coroutine[Any, Any, None]]
Runner = Callable[[Coroutine[Any, Any, None]], None]


@dataclass
class Verbex:
    """A simulated API in another process."""

    url: str
    pipe: Connection

    def set_faults(self, faults: Faults) -> None:
        """Inject `faults` from now on, and begin a new log."""
        self.pipe.send(faults)
        self.pipe.recv()

    def take_log(self) -> list[LoggedRequest]:
        """The requests since the faults were set."""
        self.pipe.send("log")
        log: list[LoggedRequest] = self.pipe.recv()
        return log


def main() -> None:
    """Measure everything and print it."""
    table = Table("figure", "measured", "goal")
    with serving(World.build(calls=CALLS * 5 // 4)) as (verbex, world):
        due = [_due(call.call_id, call.agent.agent_id) for call in world.calls if call.has_results][:CALLS]
        for concurrency in CONCURRENCIES:
            measure_rate(table, verbex, due, concurrency)
        measure_faults(table, verbex, due)
        measure_retry_after(table, verbex, due[:400])
        measure_rate_limit(table, verbex, due[:1000])
        measure_memory(table, verbex, due)
    Console(width=118).print(table)


@contextmanager
def serving(world: World) -> Iterator[tuple[Verbex, World]]:
    """Serve `world` from a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs, len(world.calls)))
    process.start()
    try:
        yield Verbex(ours.recv(), ours), world
    finally:
        ours.send(None)
        process.join()


def measure_rate(table: Table, verbex: Verbex, due: list[Due], concurrency: int) -> None:
    """Our fetch, storage included, against a bare client that reads and forgets, on either event loop."""
    verbex.set_faults(Faults())
    sides: dict[str, tuple[Runner, Fetch]] = {
        "bare": (asyncio.run, _fetch_bare),
        "bare on uvloop": (run, _fetch_bare),
        "ours": (run, _fetch_ours),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, (runner, fetch) in sides.items():
            results[name].append(_time(runner, fetch, verbex.url, due, concurrency))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in results.items()
    }
    for name, (seconds, cpu_s) in medians.items():
        rate, cost_us = len(due) / seconds, cpu_s / len(due) * 1e6
        table.add_row(f"{name}, {concurrency} in flight", f"{rate:,.0f} PCA/s, {cost_us:.0f} µs CPU each", "")
    for name, goal in (("bare", "≥ 0.8"), ("bare on uvloop", "")):
        ratio = medians[name][0] / medians["ours"][0]
        table.add_row(f"rate, ours / {name}, {concurrency} in flight", f"{ratio:.2f}", goal)


def measure_faults(table: Table, verbex: Verbex, due: list[Due]) -> None:
    """A fifth of all requests fail: what is lost, and what it costs in requests."""
    faults = Faults.evenly(0.2, seed=1)
    verbex.set_faults(Faults(**{**vars(faults), "retry_after_s": 0}))
    with tempfile.TemporaryDirectory() as folder:
        missing, passes = due, 0
        while missing and passes < 10:
            run(_fetch(verbex.url, missing, folder, api_rps=float("inf"), api_concurrency=16))
            answered = _answered(folder)
            missing, passes = [one for one in due if one.call_id not in answered], passes + 1
    log = verbex.take_log()
    needed = sum(request.fault is None for request in log) / len(due)
    table.add_row(f"lost at 20 % faults, after {passes} passes", str(len(missing)), "0")
    table.add_row("requests per answer, beyond the faulty ones", f"{needed:.3f}", "≤ 1.3")


def measure_retry_after(table: Table, verbex: Verbex, due: list[Due]) -> None:
    """How long after a 429 the next request comes, those apart that were on their way already."""
    verbex.set_faults(Faults(too_many=0.02, retry_after_s=1, seed=2))
    with tempfile.TemporaryDirectory() as folder:
        run(_fetch(verbex.url, due, folder, api_rps=float("inf"), api_concurrency=8))
    log = verbex.take_log()
    times = [request.at_s for request in log]
    waits = [
        min((later for later in times if later > request.at_s + 0.1), default=float("inf")) - request.at_s
        for request in log
        if request.fault
    ]
    table.add_row(f"shortest wait after {len(waits)} times Retry-After: 1", f"{min(waits):.3f} s", "≥ 1 s")


def measure_rate_limit(table: Table, verbex: Verbex, due: list[Due]) -> None:
    """The rate that the server sees when it is limited to 100 a second."""
    verbex.set_faults(Faults())
    with tempfile.TemporaryDirectory() as folder:
        run(_fetch(verbex.url, due, folder, api_rps=100, api_concurrency=8))
    times = [request.at_s for request in verbex.take_log()]
    table.add_row(
        "rate at VERBEX_API_RPS=100", f"{(len(times) - 1) / (times[-1] - times[0]):.2f}/s", "95 to 105"
    )


def measure_memory(table: Table, verbex: Verbex, due: list[Due]) -> None:
    """Peak memory of a fresh process, for few and for many due calls."""
    verbex.set_faults(Faults())
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids"
        ids.write_text("".join(f"{one.call_id} {one.agent_id}\n" for one in due))
        for count in (MANY_DUE // 10, MANY_DUE):
            with SPAWN.Pool(1) as pool:
                before_mib, peak_mib = pool.apply(_fetch_counted, (verbex.url, str(ids), count, folder))
            table.add_row(f"memory at {count:,} due", f"{before_mib:.0f} → {peak_mib:.0f} MiB", "flat")


def _serve(pipe: Connection, calls: int) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        async with ApiServer(World.build(calls=calls)) as api:
            pipe.send(api.url)
            while (order := await loop.run_in_executor(None, pipe.recv)) is not None:
                if isinstance(order, Faults):
                    api.faults, api.requests = order, []
                pipe.send(api.requests)

    asyncio.run(serve())


def _time(runner: Runner, fetch: Fetch, url: str, due: list[Due], concurrency: int) -> tuple[float, float]:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    runner(fetch(url, due, concurrency))
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


async def _fetch_ours(url: str, due: list[Due], concurrency: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await _fetch(url, due, folder, api_rps=float("inf"), api_concurrency=concurrency)


async def _fetch_bare(url: str, due: list[Due], concurrency: int) -> None:
    turns = iter(due)
    headers = {"Authorization": f"Bearer {DEFAULT_API_KEY}"}
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:

        async def work() -> None:
            for one in turns:
                path = f"/v2/ai-agents/{one.agent_id}/postcall-analysis/results/{one.call_id}"
                async with session.get(path) as answer:
                    await answer.read()

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def _fetch(url: str, due: Iterable[Due], folder: str, **limits: float) -> None:
    chosen: dict[str, Any] = {"api_url": url, "api_key": DEFAULT_API_KEY, **limits}
    settings = Settings(_env_file=None, **chosen)
    await fetch_due(due, zone=PCA, settings=settings, landing=Landing(folder), rng=random.SystemRandom())


def _fetch_counted(url: str, ids: str, count: int, folder: str) -> tuple[float, float]:
    before_mib = _peak_mib()
    due = _endless(Path(ids), count)
    run(_fetch(url, due, f"{folder}/{count}", api_rps=float("inf"), api_concurrency=16))
    return before_mib, _peak_mib()


def _endless(ids: Path, count: int) -> Iterator[Due]:
    """`count` due calls, going round the ids, never all in memory."""
    while True:
        with ids.open() as lines:
            for line in lines:
                if count == 0:
                    return
                count -= 1
                yield _due(*line.split())


def _due(call_id: str, agent_id: str) -> Due:
    return Due(call_id, agent_id, datetime.now(UTC))


def _answered(folder: str) -> set[str]:
    landing = Landing(folder)
    tables = (landing.read(file, ANSWER_SCHEMA) for file in landing.list_files(PCA))
    return {row["call_id"] for table in tables for row in table.to_pylist() if row["outcome"] == "answered"}


def _peak_mib() -> float:
    # Of this process's own life: what `getrusage` tells is inherited from the parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
