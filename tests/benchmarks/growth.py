"""What customers have many of, doubled again and again: a first load and a later sync must grow no faster.

    python tests/benchmarks/growth.py
    python tests/benchmarks/growth.py --only marts agents --doublings 4

For each thing and number of it, lands a new folder, loads it, lands one event more of the first call and
syncs that. Prints the seconds of CPU of both, and the milliseconds that each thing adds to what an almost
empty folder takes, which must not grow from line to line.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.data_folder import NOON_US, DataFolder, body  # noqa: E402
from support.oracle import ENDED, STARTED  # noqa: E402

from connector.landing.zones import CALLS, PCA  # noqa: E402
from pipelines.models.sql_file import sql_folder  # noqa: E402

DAY_US = 86_400_000_000
TRANSCRIPT_LINE = "(1.0s - 2.5s) Could you please repeat the number of your order? I did not get it all."


def land_agents(folder: DataFolder, count: int) -> None:
    """Each with a call and an analysis of its own."""
    agents = [(f"c{number}", f"agent-{number}") for number in range(count)]
    folder.land([body(f"t{call_id}", STARTED, call_id, 1, agent_id=name) for call_id, name in agents])
    folder.land_answers(PCA, [analysis(call_id, items=5, agent_id=name) for call_id, name in agents])


def write_marts(folder: DataFolder, count: int) -> None:
    """A customer's own, each of which reads the one before it."""
    for number in range(count):
        source = f"mart_{number - 1}" if number else "calls"
        text = f"select agent_id, count(*) as calls from {source} group by agent_id"  # noqa: S608
        (folder.sql_dir / "marts" / f"mart_{number}.sql").write_text(text)
    land_calls(folder, 1)


def write_checks(folder: DataFolder, count: int) -> None:
    """A customer's own, blocking, on a table of ours."""
    for number in range(count):
        text = "-- A rule.\n--\n-- on: calls\nfrom calls where call_id = 'x'"
        (folder.sql_dir / "checks" / f"rule_{number}.sql").write_text(text)
    land_calls(folder, 1)


def land_types(folder: DataFolder, count: int) -> None:
    """Each event of a type that we have never heard of."""
    folder.land([body(f"t{number}", f"Other.Type{number}", "c0", number) for number in range(count)])


def land_calls(folder: DataFolder, count: int) -> None:
    """Each with a start and an end, in one file."""
    names = [f"c{number}" for number in range(count)]
    events = [body(f"s{name}", STARTED, name, 1) for name in names]
    folder.land([*events, *(body(f"e{name}", ENDED, name, 9) for name in names)])


def land_long_call(folder: DataFolder, count: int) -> None:
    """Many events of one call."""
    folder.land([body(f"t{number}", "Other.Thing", "c0", number / 10) for number in range(count)])


def land_transcript(folder: DataFolder, count: int) -> None:
    """One call whose transcript has that many lines of about 90 bytes."""
    land_calls(folder, 1)
    messages = [{"role": "user", "content": TRANSCRIPT_LINE}] * count
    details = json.dumps({"_id": "c0", "ai_agent_id": "agent", "messages": messages}).encode()
    folder.land_answers(CALLS, [{"call_id": "c0", "http_status": 200, "body": details}])


def land_items(folder: DataFolder, count: int) -> None:
    """One analysis with that many items."""
    land_calls(folder, 1)
    folder.land_answers(PCA, [analysis("c0", items=count)])


def land_days(folder: DataFolder, count: int) -> None:
    """A file a day, for years."""
    for number in range(count):
        event = body(f"t{number}", STARTED, f"c{number}", number * 86_400)
        folder.land([event], received_at_us=NOON_US - (count - number) * DAY_US)


def land_small_files(folder: DataFolder, count: int) -> None:
    """All of one day, not merged yet."""
    for number in range(count):
        folder.land([body(f"t{number}", STARTED, f"c{number}", 1)], received_at_us=NOON_US + number)


def analysis(call_id: str, *, items: int, agent_id: str = "agent") -> dict[str, object]:
    """Return an answer that holds an analysis."""
    listed = [{"name": f"Item {number}", "type": "string", "result": "yes"} for number in range(items)]
    text = json.dumps({"items": listed}).encode()
    return {"call_id": call_id, "agent_id": agent_id, "http_status": 200, "body": text}


SERIES: dict[str, tuple[int, Callable[[DataFolder, int], None]]] = {
    "agents": (250, land_agents),
    "marts": (10, write_marts),
    "checks": (25, write_checks),
    "event types": (1_000, land_types),
    "calls": (10_000, land_calls),
    "events of one call": (2_500, land_long_call),
    "lines of a transcript": (1_500, land_transcript),
    "items of an analysis": (750, land_items),
    "days of landing": (500, land_days),
    "small files of a day": (1_250, land_small_files),
}


def measure(land: Callable[[DataFolder, int], None], count: int) -> tuple[float, float]:
    """Return the seconds of CPU of a first load of `count` things, and of a sync of one event more."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(sql_folder(), Path(name) / "sql")
        folder = DataFolder(Path(name) / "data", sql_dir=Path(name) / "sql")
        land(folder, count)
        first_s = _cpu_s(folder)
        took_s = []
        for number in range(
            4
        ):  # the second and third sync make their file from a copy, or load what it missed
            event = body(f"new{number}", ENDED, "c0", 60 + number)
            folder.land([event], received_at_us=NOON_US + DAY_US // 4 + number)
            took_s.append(_cpu_s(folder))
        return first_s, min(took_s)


def _cpu_s(folder: DataFolder) -> float:
    started_s = time.process_time()
    folder.sync()
    return time.process_time() - started_s


def main(chosen: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--doublings", type=int, default=2)
    options = parser.parse_args(chosen)
    base = [min(costs) for costs in zip(*(measure(land_calls, 1) for _ in range(2)), strict=True)]
    print(f"An almost empty folder: first load {base[0]:.2f} s of CPU, sync {base[1]:.2f} s.\n")
    print("| many | count | first load, CPU s | ms each | sync of one event, CPU s | ms each |")
    print("|---|---|---|---|---|---|")
    for name in options.only:
        smallest, land = SERIES[name]
        for count in (smallest * 2**doubling for doubling in range(options.doublings + 1)):
            cells = [
                f"{took:.2f} | {1000 * (took - least) / count:.3f}"
                for took, least in zip(measure(land, count), base, strict=True)
            ]
            print(f"| {name} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
