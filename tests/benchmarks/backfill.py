"""A first use on an account with history, measured: 100,000 calls backfilled from a simulated Verbex.

Run as `python tests/benchmarks/backfill.py`; it takes some two minutes and prints one table. The server has a
process of its own, and the backfill another, of which memory and CPU are told; no rate is set.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections import Counter
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from connector.landing.zones import CALLS, PCA
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.world import World
from pipelines.enrichment.due import list_due
from pipelines.enrichment.span import Span
from pipelines.reconciliation.sweep import sweep_span
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.session import open_session

DAYS = 100
FIRST, LAST = date(2025, 6, 1), date(2025, 9, 8)
COUNTS = (10_000, 100_000)
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Measure both sizes and print them."""
    table = Table("figure", *(f"{count:,} calls" for count in COUNTS))
    columns = [measure(count) for count in COUNTS]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    Console(width=118).print(table)


def measure(count: int) -> dict[str, str]:
    """One backfill of so many calls into an empty folder."""
    ours, theirs = SPAWN.Pipe()
    server = SPAWN.Process(target=_serve, args=(theirs, count))
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder, SPAWN.Pool(1) as pool:
            figures: dict[str, str] = pool.apply(_backfill, (ours.recv(), folder, count))
        ours.send("requests")
        paths: Counter[str] = ours.recv()
    finally:
        ours.send(None)
        server.join()
    return figures | {"requests for the list": f"{paths['/v1/calls/']}", "others": f"{len(paths) - 1}"}


def _serve(pipe: Connection, count: int) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        start_at = datetime.combine(FIRST, time_of_day(), UTC)
        async with ApiServer(World.build(calls=count, start_at=start_at, span_s=DAYS * 86_400)) as api:
            pipe.send(api.url)
            while await loop.run_in_executor(None, pipe.recv) is not None:
                pipe.send(Counter(request.path for request in api.requests))

    asyncio.run(serve())


def _backfill(url: str, folder: str, count: int) -> dict[str, str]:
    key = SecretStr(DEFAULT_API_KEY)
    settings = Settings(_env_file=None, data_dir=Path(folder), api_url=url, api_key=key, api_rps=float("inf"))
    data_folder = DataFolder.from_settings(settings)
    before_mib, began_s, began_cpu_s = _peak_mib(), time.perf_counter(), time.process_time()
    swept = sweep_span(settings, data_folder, Span(FIRST, LAST), is_backfill=True)
    assert swept.calls_listed == count, swept
    listed_s, listed_cpu_s, listed_mib = (
        time.perf_counter() - began_s,
        time.process_time() - began_cpu_s,
        _peak_mib(),
    )
    with open_session(data_folder) as session:
        for model in session.models:
            session.update(model)
        session.publish(datetime.now(UTC))
    loaded_s = time.perf_counter() - began_s - listed_s
    due = {zone.name: len(list_due(data_folder, zone, datetime.now(UTC))) for zone in (PCA, CALLS)}
    landed_bytes = sum(path.stat().st_size for path in Path(settings.landing).rglob("*.parquet"))
    return {
        "listed and landed": f"{listed_s:.1f} s, {count / listed_s:,.0f} calls/s",
        "CPU of ours a call": f"{listed_cpu_s / count * 1e6:,.0f} µs",
        "memory, start → listed": f"{before_mib:.0f} → {listed_mib:.0f} MiB",
        "landed a call": f"{landed_bytes / count:,.0f} bytes",
        "loaded": f"{loaded_s:.1f} s, {count / loaded_s:,.0f} calls/s",
        "memory, loaded": f"{_peak_mib():.0f} MiB",
        "analyses due": f"{due['pca']:,}",
        "call details due": f"{due['calls']:,}",
    }


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
