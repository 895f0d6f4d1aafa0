"""The warehouse measured: full build, sync into histories of two sizes, dlt, and a refresh written by hand.

Run as `python tests/benchmarks/warehouse.py build|sync|dlt|crossover|all`; `--help` tells the sizes. Data
are made in `--data` and used again by the next run. All figures of a run come from one machine and one
sitting, sides interleaved, each in a fresh process, so that their ratios mean something. Where a machine is
shared, processor times tell more than seconds.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from history import land_history, land_increment
from rich.console import Console
from rich.table import Table
from warehouse_parts import Measured, measure

REPEATED_SHARE = 20  # one delivery in so many of an increment is a redelivery
WARM_UP_SYNCS = 3
"""The first builds the tables, the second copies them, the third finds two files that take turns."""

_HOLD = (
    "import sys, duckdb; c = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"
)
_CONSOLE = Console(width=118)
_Key = TypeVar("_Key")


def main() -> None:
    """Measure what the arguments name."""
    options = _parse()
    wanted = [options.what] if options.what != "all" else ["build", "sync", "dlt", "crossover"]
    options.data.mkdir(parents=True, exist_ok=True)
    for what in wanted:
        {"build": build, "sync": sync, "dlt": dlt, "crossover": crossover}[what](options)


def build(options: argparse.Namespace) -> None:
    """Every table from landing, against DuckDB only reading the same files and fields."""
    landing = history(options.data, options.events)
    results: dict[str, list[Measured]] = {"extract": [], "rebuild": []}
    for _ in range(options.repeats):
        for part, runs in results.items():
            with scratch(options.data) as folder:
                runs.append(measure(part, landing, folder / "target"))
    alone_s = median_s(results["extract"])
    ours = {step: median_s(results["rebuild"], [step]) for step in results["rebuild"][0].steps_s}
    table = Table("full build", "seconds", "ratio", "CPU s", "peak MiB", "goal")
    table.title = f"{options.events:,} deliveries"
    cpu, memory = {part: cpu_s(runs) for part, runs in results.items()}, peaks(results)
    table.add_row("DuckDB reads and extracts", f"{alone_s:.1f}", "1", cpu["extract"], memory["extract"], "")
    both_s, all_s = ours["events"] + ours["calls"], sum(ours.values())
    table.add_row("ours, events and calls", f"{both_s:.1f}", f"{both_s / alone_s:.2f}", "", "", "≤ 4")
    ratio = f"{all_s / alone_s:.2f}"
    table.add_row("ours, all tables", f"{all_s:.1f}", ratio, cpu["rebuild"], memory["rebuild"], "< 4096 MiB")
    for step, seconds in slowest(ours):
        table.add_row(f"  {step}", f"{seconds:.1f}", f"{seconds / alone_s:.2f}", "", "", "")
    _CONSOLE.print(table)


def sync(options: argparse.Namespace) -> None:
    """New deliveries into each history, publishing included; also while a reader holds what is published."""
    cases = {"free": False, "held by a reader": True}
    results: dict[tuple[int, str], list[Measured]] = {}
    for events in options.histories:
        for _ in range(WARM_UP_SYNCS):
            sync_increment(options, events, is_held=False)
        for _ in range(2):  # with a reader there is a third file, which is copied once
            sync_increment(options, events, is_held=True)
    for _ in range(options.repeats):
        for events in options.histories:
            for name, is_held in cases.items():
                results.setdefault((events, name), []).append(
                    sync_increment(options, events, is_held=is_held)
                )
    print_syncs(options, cases, results)


def sync_increment(options: argparse.Namespace, events: int, *, is_held: bool) -> Measured:
    """Land an increment after a history and all earlier increments, and sync it."""
    folder = growing(options.data, events)
    increments = len(list((folder / "landing").glob("date=*/increment-*.parquet")))
    land_increment(
        folder / "landing",
        first=events + increments * options.new,
        count=options.new,
        repeats=options.new // REPEATED_SHARE,
        reach=options.reach,
    )
    with held_open(folder / "warehouse.duckdb") if is_held else nullcontext():
        return measure("sync", folder / "landing", folder)


def print_syncs(
    options: argparse.Namespace, cases: Iterable[str], results: dict[tuple[int, str], list[Measured]]
) -> None:
    """Totals and steps, histories beside each other."""
    smallest, *_, largest = options.histories
    reach = "all of it" if options.reach is None else f"its newest {options.reach:,}"
    table = Table("sync", *(f"into {events:,}" for events in options.histories), "ratio", "goal")
    table.title = (
        f"{options.new:,} deliveries, {options.new // REPEATED_SHARE:,} of them again out of {reach}"
    )
    for name in cases:
        totals = {events: median_s(results[events, name]) for events in options.histories}
        ratio = f"{totals[largest] / totals[smallest]:.2f}"
        table.add_row(
            f"published file {name}", *(f"{total:.2f} s" for total in totals.values()), ratio, "≤ 2"
        )
    free = {events: results[events, next(iter(cases))] for events in options.histories}
    table.add_row("CPU s, free", *(cpu_s(runs) for runs in free.values()), "", "")
    table.add_row("peak MiB, free", *peaks(free).values(), "", "", end_section=True)
    steps = {step: median_s(free[largest], [step]) for step in free[largest][0].steps_s}
    for step, _ in slowest(steps):
        times = [median_s(runs, [step]) for runs in free.values()]
        table.add_row(f"  {step}", *(f"{time:.3f} s" for time in times), f"{times[-1] / times[0]:.1f}", "")
    _CONSOLE.print(table)


def dlt(options: argparse.Namespace) -> None:
    """The same landed deliveries by dlt's merge, as Arrow batches and as Python dicts."""
    if options.dlt_python is None:
        sys.exit("Give --dlt-python: the Python of a venv of its own with `dlt[duckdb]` and `pyarrow`.")
    landing = history(options.data, options.events)
    results: dict[str, list[Measured]] = {
        part: [] for part in ("rebuild", "copy", "dlt_arrow", "dlt_arrow_fields", "dlt_dicts")
    }
    for turn in range(options.repeats):
        for part, runs in results.items():
            if part == "dlt_dicts" and turn:
                continue  # minutes each
            python = options.dlt_python if part.startswith("dlt") else sys.executable
            with scratch(options.data) as folder:
                runs.append(measure(part, landing, folder / "target", python=python))
    print_loads(options, results)


def print_loads(options: argparse.Namespace, results: dict[str, list[Measured]]) -> None:
    """Our `events` against dlt's one table, as dlt loads it and with our columns; then all our tables."""
    cpu, memory = {part: cpu_s(runs) for part, runs in results.items()}, peaks(results)
    one_table = ["open, catch up", "events", "publish"]
    events_s = median_s(results["rebuild"], one_table)
    table = Table("load", "seconds", "deliveries/s", "ours is faster by", "CPU s", "peak MiB", "goal")
    table.title = f"{options.events:,} deliveries"
    for name, part, steps, goal in (
        ("ours, events", "rebuild", one_table, ""),
        ("dlt, Arrow, bodies left as they are", "dlt_arrow", None, "≥ 5"),
        ("dlt, Arrow, then their fields by SQL", "dlt_arrow_fields", None, ""),
        ("dlt, Python, bodies flattened", "dlt_dicts", None, "≥ 40"),
        ("ours, all tables", "rebuild", None, ""),
        ("DuckDB copies the rows, all of them", "copy", None, ""),
    ):
        seconds = median_s(results[part], steps)
        rate, ratio = f"{options.events / seconds:,.0f}", f"{seconds / events_s:.1f}"
        used = (cpu[part], memory[part]) if steps is None else ("", "")
        table.add_row(name, f"{seconds:.2f}", rate, ratio, *used, goal)
    _CONSOLE.print(table)


def crossover(options: argparse.Namespace) -> None:
    """From which history on our sync of new deliveries beats a full refresh written by hand."""
    table = Table("history", "refresh by hand", "our sync", "refresh / sync", title=f"{options.new:,} new")
    for events in options.sizes:
        for _ in range(WARM_UP_SYNCS):
            sync_increment(options, events, is_held=False)
        hand: list[Measured] = []
        ours: list[Measured] = []
        for _ in range(options.repeats):
            with scratch(options.data) as folder:
                landing = growing(options.data, events) / "landing"
                hand.append(measure("refresh_by_hand", landing, folder / "target"))
            ours.append(sync_increment(options, events, is_held=False))
        hand_s, ours_s = median_s(hand), median_s(ours)
        table.add_row(f"{events:,}", f"{hand_s:.2f} s", f"{ours_s:.2f} s", f"{hand_s / ours_s:.2f}")
    _CONSOLE.print(table)


def history(data: Path, events: int) -> Path:
    """A landing zone with a history and nothing else; it is made if it isn't there."""
    landing = data / f"history-{events}"
    if not landing.is_dir():
        _CONSOLE.print(f"Landing {events:,} deliveries in {landing} ...")
        aside = landing.with_suffix(".partial")
        shutil.rmtree(aside, ignore_errors=True)
        land_history(aside, first=0, count=events)
        aside.rename(landing)
    return landing


def growing(data: Path, events: int) -> Path:
    """A data folder whose landing zone holds a history, and the increments that were landed after it."""
    folder = data / f"growing-{events}"
    if not folder.is_dir():
        shutil.copytree(history(data, events), folder / "landing", copy_function=os.link)
    return folder


@contextmanager
def scratch(data: Path) -> Iterator[Path]:
    """A folder for one measurement."""
    folder = data / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """Another process has the file open for reading."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


def median_s(runs: Sequence[Measured], steps: Sequence[str] | None = None) -> float:
    """The median of repeats, of some steps or of all."""
    return statistics.median(
        run.seconds if steps is None else sum(run.steps_s[step] for step in steps) for run in runs
    )


def slowest(steps_s: dict[str, float]) -> list[tuple[str, float]]:
    """Steps by their time, longest first; those that are next to nothing are left out."""
    return sorted(
        ((step, seconds) for step, seconds in steps_s.items() if seconds > sum(steps_s.values()) / 100),
        key=lambda one: -one[1],
    )


def cpu_s(runs: Sequence[Measured]) -> str:
    """The median of the processor time of repeats."""
    return f"{statistics.median(run.cpu_s for run in runs):.2f}"


def peaks(results: dict[_Key, list[Measured]]) -> dict[_Key, str]:
    """The most memory that any repeat took, in MiB."""
    return {key: f"{max(run.peak_mib for run in runs):,.0f}" for key, runs in results.items()}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("what", choices=["build", "sync", "dlt", "crossover", "all"])
    parser.add_argument("--data", type=Path, default=Path("benchmark-data"), help="kept and used again")
    parser.add_argument("--events", type=int, default=1_000_000, help="deliveries for build and dlt")
    parser.add_argument("--histories", type=int, nargs="+", default=[1_000_000, 50_000_000], help="for sync")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--new", type=int, default=10_000, help="deliveries of a sync")
    parser.add_argument("--reach", type=int, help="redeliveries are of the newest so many; else of any")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dlt-python", help="interpreter that has dlt")
    return parser.parse_args()


if __name__ == "__main__":
    main()
