"""Compaction of one day of small files: the time grows with the number of files, and no faster.

    python tests/benchmarks/compaction.py --files 5000 10000 20000 86400

Lands files of one delivery each in a new folder for each number, as a receiver does that seals every second,
and merges them. Prints the seconds, and the milliseconds of CPU for each file, which must stay the same.
"""

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connector.journal.delivery import Delivery, Group, to_batch
from connector.landing.compaction import compact
from connector.landing.files import Landing
from connector.landing.zones import EVENT_SCHEMA, EVENTS

NOON_US = 1_762_689_600_000_000
RECEIVER = "20251109T000000Z-0123456789ab"
BODY = b'{"traceId": "%d", "eventName": "CallHandler.CallStarted", "timestamp": 1762689600}'


def land(landing: Path, count: int) -> None:
    """Land `count` files of one delivery each, all on one day, without the fsync of each."""
    folder = landing / "date=2025-11-09"
    folder.mkdir()
    for number in range(count):
        delivery = Delivery(
            NOON_US + number, str(number), "CallHandler.CallStarted", "token", None, {}, BODY % number
        )
        table = pa.Table.from_batches([to_batch(RECEIVER, [Group(number, [delivery])])])
        pq.write_table(table, folder / f"{RECEIVER}-{number:06d}.parquet", compression="zstd")


def measure(count: int) -> tuple[float, float]:
    """Return the seconds, and those of CPU, that `count` files take. All rows are there afterwards."""
    with tempfile.TemporaryDirectory() as name:
        land(Path(name), count)
        landing = Landing(name)
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        removed = compact(landing, EVENTS, before=date(2025, 11, 10))
        taken_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
        if removed != count:
            raise SystemExit(f"{removed} of {count} files were merged.")
        rows = sum(landing.read(file, EVENT_SCHEMA).num_rows for file in landing.list_files(EVENTS))
        if rows != count:
            raise SystemExit(f"{rows} of {count} rows are left.")
    return taken_s, cpu_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[5_000, 10_000, 20_000, 86_400])
    print("| files | s | CPU s | CPU ms a file |\n|---|---|---|---|")
    for count in parser.parse_args().files:
        taken_s, cpu_s = measure(count)
        print(f"| {count} | {taken_s:.1f} | {cpu_s:.1f} | {1000 * cpu_s / count:.2f} |", flush=True)


if __name__ == "__main__":
    main()
