"""Exports to PostgreSQL and Delta Lake measured: first ones, and changes into two histories.

Run as `python tests/benchmarks/exports.py --calls 100000 1000000`; `--help` tells the rest. Histories are
made in `--data` and used again. The changes are those of a sync of 10,000 deliveries. They are exported by
ADBC and, into a second database, by psycopg's binary COPY with the same statements after it, and to Delta
tables. First exports are held against COPY from the server's own files, and against DuckDB's own writing of
the same tables to Parquet. Sides take turns in one sitting, each in a fresh process, so that ratios mean
something.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
import pyarrow as pa
from history import land_history, land_increment
from rich.console import Console
from rich.table import Table
from support.data_folder import DataFolder
from support.postgresql import Database, Server, serving_postgresql

from pipelines.exports.change import MEMORY_BYTES, open_source
from pipelines.exports.export import Exported, bring, export
from pipelines.exports.postgresql import SCHEMA, PostgresqlTarget
from pipelines.exports.postgresql_session import Session
from pipelines.exports.postgresql_types import identifier
from pipelines.warehouse.memory import limit_memory

NEW = 10_000
"""Deliveries of a sync; one in twenty is a redelivery."""

_TYPES = {
    pa.string(): "text",
    pa.large_string(): "text",
    pa.bool_(): "boolean",
    pa.int32(): "int4",
    pa.int64(): "int8",
    pa.float64(): "float8",
    pa.date32(): "date",
    pa.binary(): "bytea",
}


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("benchmark-data"), help="kept and used again")
    parser.add_argument("--calls", type=int, nargs=2, default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(*options.one)))
        return
    figures = {}
    for calls in options.calls:
        folder = grown(options.data / f"exports-{calls}", calls)
        ((there,),) = folder.rows("select count(*) from calls")
        with serving_postgresql(is_durable=True) as server, TemporaryDirectory(dir=options.data) as place:
            figures[there] = measure(folder, server, Path(place), calls, options.repeats)
    show(figures)


def measure(folder: DataFolder, server: Server, place: Path, calls: int, repeats: int) -> dict[str, Any]:
    """Measure first exports, other ways to write the same rows, and exports of changes."""
    ours, theirs, lake = server.make_database(), server.make_database(), f"delta:{place}/lake"
    sides = {"adbc": ours.url, "psycopg": theirs.url, "delta": lake}
    first = in_a_process("adbc", folder, ours.url)
    in_a_process("adbc", folder, theirs.url)
    copy_s = copied_s(ours, server.folder.parent)
    parquet = in_a_process("duckdb", folder, str(place / "parquet"))
    first_delta = in_a_process("delta", folder, lake)
    changes: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(repeats + 2):
        land(folder, calls)
        folder.sync()
        for side, url in sorted(sides.items(), reverse=number % 2 == 1):
            found = in_a_process(side, folder, url)
            if number >= 2:  # before that, a second and a third warehouse file are made
                changes[side].append(found)
    return {"first": first, "copy_s": copy_s, "parquet": parquet, "first delta": first_delta} | {
        side: {name: statistics.median(each[name] for each in found) for name in found[0]}
        for side, found in changes.items()
    }


def show(figures: dict[int, dict[str, Any]]) -> None:
    """Print the figures, histories beside each other."""
    small, large = figures.values()
    table = Table("PostgreSQL", *(f"{calls:,} calls" for calls in figures), "goal")
    ratio = f"{large['adbc']['s'] / small['adbc']['s']:.2f} times"
    table.add_row(
        f"changes of {NEW:,} deliveries", *(f"{each['adbc']['s']:.2f} s" for each in figures.values()), ""
    )
    table.add_row("  rows written", *(f"{each['adbc']['rows']:,.0f}" for each in figures.values()), "")
    table.add_row("  into the larger against the smaller", "", ratio, "at most 2")
    faster = [f"{each['psycopg']['s'] / each['adbc']['s']:.2f} times" for each in figures.values()]
    table.add_row("  psycopg's binary COPY and the same upsert", *faster, "at least 2")
    faster = [
        f"{each['psycopg']['staging_s'] / each['adbc']['staging_s']:.2f} times" for each in figures.values()
    ]
    table.add_row("    of it, staging the rows", *faster, "")
    table.add_row("first export", *(f"{each['first']['s']:.1f} s" for each in figures.values()), "")
    table.add_row("  rows written", *(f"{each['first']['rows']:,.0f}" for each in figures.values()), "")
    shares = [f"{each['copy_s'] / each['first']['s']:.2f} times" for each in figures.values()]
    table.add_row("  its speed against COPY from files", *shares, "at least 0.5")
    table.add_row("  peak memory", *(f"{each['first']['mib']:.0f} MiB" for each in figures.values()), "")
    table.add_section()
    table.add_row("Delta Lake", *("" for _ in figures), "")
    table.add_row(
        f"changes of {NEW:,} deliveries", *(f"{each['delta']['s']:.2f} s" for each in figures.values()), ""
    )
    ratio = f"{large['delta']['s'] / small['delta']['s']:.2f} times"
    table.add_row("  into the larger against the smaller", "", ratio, "at most 2")
    table.add_row("  peak memory", *(f"{each['delta']['mib']:.0f} MiB" for each in figures.values()), "")
    table.add_row("first export", *(f"{each['first delta']['s']:.1f} s" for each in figures.values()), "")
    shares = [f"{each['parquet']['s'] / each['first delta']['s']:.2f} times" for each in figures.values()]
    table.add_row("  its speed against DuckDB's own writing to Parquet", *shares, "at least 0.5")
    table.add_row(
        "  peak memory", *(f"{each['first delta']['mib']:.0f} MiB" for each in figures.values()), ""
    )
    Console(width=118).print(table)


def grown(path: Path, calls: int) -> DataFolder:
    """Return a data folder with a published history."""
    folder = DataFolder(path)
    if not folder.warehouse.published.exists():
        print(f"Making {calls:,} calls in {path} ...", file=sys.stderr)
        land_history(path / "landing", first=0, count=calls * 3)
        folder.sync()
    return folder


def land(folder: DataFolder, calls: int) -> None:
    """Land an increment behind everything that landed."""
    landing = folder.path / "landing"
    increments = len(list(landing.glob("date=*/increment-*.parquet")))
    land_increment(landing, first=calls * 3 + increments * NEW, count=NEW, repeats=NEW // 20, reach=calls * 3)


def in_a_process(side: str, folder: DataFolder, url: str) -> dict[str, float]:
    """Export in a fresh process. Return seconds, rows, and the peak of its memory [MiB]."""
    command = [sys.executable, __file__, "--one", side, str(folder.path), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_one(side: str, path: str, url: str) -> dict[str, float]:
    """Export once, in this process."""
    folder = DataFolder(Path(path))
    staging_s = timed_staging(ByPsycopg if side == "psycopg" else Session)
    started_s = time.monotonic()
    if side == "duckdb":
        rows = write_parquet(folder, Path(url))
    else:
        rows = (export_by_psycopg if side == "psycopg" else export)(folder, url).rows_written
    s = time.monotonic() - started_s
    return {"s": s, "staging_s": sum(staging_s), "rows": rows, "mib": peak_mib()}


def peak_mib() -> float:
    """Return the peak of this process's memory. What `getrusage` says may be that of the process before."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1024


def write_parquet(folder: DataFolder, place: Path) -> int:
    """Let DuckDB write the tables that are exported, and return how many rows they have."""
    place.mkdir()
    with open_source(folder) as source, folder.read() as connection:
        limit_memory(connection, MEMORY_BYTES)
        tables = [table.name for table in source.list_tables()]
        copies = (connection.execute(f"copy {name} to '{place}/{name}.parquet'") for name in tables)
        return sum(count for copy in copies for (count,) in copy.fetchall())


def timed_staging(session: type[Session]) -> list[float]:
    """Let a session note how long it takes to stage rows, reading them included."""
    seconds: list[float] = []
    ingest = session.ingest

    def timed(self: Session, name: str, rows: pa.RecordBatchReader) -> None:
        started_s = time.monotonic()
        ingest(self, name, rows)
        seconds.append(time.monotonic() - started_s)

    session.ingest = timed  # type: ignore[method-assign]
    return seconds


def export_by_psycopg(folder: DataFolder, url: str) -> Exported:
    """Export as ours does, but stage by psycopg's binary COPY."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        target = PostgresqlTarget(ByPsycopg(cursor, SCHEMA))
        target.take()
        with open_source(folder) as source:
            return bring(target, source)


class ByPsycopg(Session):
    """The same statements with another way to stage rows."""

    def ingest(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Make a temporary table of rows."""
        kinds = [_TYPES.get(field.type, "timestamptz") for field in rows.schema]
        columns = zip(map(identifier, rows.schema.names), kinds, strict=True)
        self.run(f"create temp table {name} ({', '.join(map(' '.join, columns))})")
        with self.cursor.copy(f"copy {name} from stdin (format binary)") as copy:
            copy.set_types(kinds)
            for batch in rows:
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    copy.write_row(row)


def copied_s(database: Database, place: Path) -> float:
    """Return how long the server takes to COPY the tables' rows from its own files into tables like them."""
    tables = [name for (name,) in database.rows("select relname from pg_stat_user_tables order by 1")]
    database.run("create schema copied")
    with exported_files(database, place, tables) as files:
        started_s = time.monotonic()
        for table, file in files.items():
            database.run(f"copy copied.{table} from '{file}'")
        return time.monotonic() - started_s


@contextmanager
def exported_files(database: Database, place: Path, tables: list[str]) -> Iterator[dict[str, Path]]:
    """Let the server write its tables into files, and make empty tables like them."""
    files = {table: place / f"{table}.copy" for table in tables}
    for table, file in files.items():
        database.run(f"copy {SCHEMA}.{table} to '{file}'")
        database.run(f"create table copied.{table} (like {SCHEMA}.{table} including all)")
    try:
        yield files
    finally:
        for file in files.values():
            file.unlink()


if __name__ == "__main__":
    main()
