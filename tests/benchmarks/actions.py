"""Actions: how soon they arrive, what rules cost a sync, and whether that grows with history.

    python tests/benchmarks/actions.py arrive --rate 20 --duration-s 60 --seal-interval-s 1
    python tests/benchmarks/actions.py rules --calls 20000 --rules 20
    python tests/benchmarks/actions.py history --calls 100000 1000000

`arrive` starts a receiver, `sync --follow`, a simulated Verbex and a destination, sends the events of calls
at a steady rate of calls, and prints the seconds from the 2xx of pcaCompleted to the request about its call,
and how many requests a minute arrived. `rules` prints the CPU seconds of a sync that touches no rule, without
rules and with many. `history` prints the CPU seconds of a sync of ten calls that a rule wants, and of the
look at it, for each number of calls that the rule has acted on before, and the ratio of last to first.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from freshness import running  # noqa: E402
from support.acting import NAMED_AT, Watcher, acting, call, write_rule  # noqa: E402
from support.data_folder import DataFolder  # noqa: E402
from support.receiver import ReceiverProcess, until  # noqa: E402

from connector.landing.zones import ACTION_SCHEMA, ACTIONS, EVENT_SCHEMA, EVENTS  # noqa: E402
from connector.simulator.api import ApiServer  # noqa: E402
from connector.simulator.destination import DestinationServer  # noqa: E402
from connector.simulator.sender import SendOptions, send  # noqa: E402
from connector.simulator.world import World  # noqa: E402
from pipelines.actions.decide import action_id_of  # noqa: E402

_RULE = """-- A rule of the benchmark.
--
-- action: http
-- once per: call_id
-- keys: call_hash
-- changed by calls: select call_hash
-- columns:
--   call_id varchar: the call
--   happened_at timestamptz: its end
--   call_hash ubigint hidden: hash of call_id
select call_id, ended_at as happened_at, call_hash
from stored.calls
where rowid in (select rowid from stored.calls semi join changed using (call_hash))
    and ended_at is not null
"""
_STAGES = """
    select
        round(median(epoch_us(fetched_at - received_at) / 1e6), 2),
        round(median(epoch_us(intended_at - fetched_at) / 1e6), 2),
        round(median(epoch_us(sent_at - intended_at) / 1e6), 2)
    from events
    join pca using (call_id)
    join actions using (call_id)
    where event_name = 'callAnalysis.pcaCompleted' and revision = 1
"""
_PORTION = 100_000


async def arrive(folder: Path, rate: float, duration_s: float, seal_interval_s: float) -> None:
    """Measure from acknowledgements to requests, and print one line."""
    calls = int(rate * duration_s)
    world = World.build(calls=calls, start_at=datetime.now(UTC) + timedelta(seconds=60), span_s=3600)
    by_call: dict[str, list[Any]] = {}
    for delivery in world.deliveries(duplicates=0, disorder=0):
        by_call.setdefault(delivery.event.call_id or "", []).append(delivery)
    whole = [each for each in by_call.values() if each[-1].event.name.endswith("pcaCompleted")]
    deliveries = [delivery for each in whole for delivery in each]
    acked_at: dict[str, float] = {}

    def note(done: int, _all: int) -> None:
        event = deliveries[done - 1].event
        if event.name.endswith("pcaCompleted"):
            acked_at.setdefault(event.call_id or "", time.time())

    async with ApiServer(world) as api, DestinationServer() as destination:
        os.environ |= {
            "VERBEX_DATA_DIR": str(folder / "data"),
            "VERBEX_API_URL": api.url,
            "VERBEX_API_KEY": api.api_key,
            "VERBEX_API_RPS": "1000",
            "VERBEX_ACTIONS": "call_summaries",
            "VERBEX_ACTION_CALL_SUMMARIES_URL": destination.url,
        }
        with running([sys.executable, "-m", "pipelines.cli", "sync", "--follow"], folder):
            await until(lambda: any((folder / "data" / "landing" / "actions").rglob("*.parquet")))
            with ReceiverProcess(folder / "data", SEAL_INTERVAL_S=str(seal_interval_s)) as receiver:
                events_s = rate * len(deliveries) / len(whole)
                options = SendOptions(url=receiver.url, rate_per_s=events_s, concurrency=1)
                await send(deliveries, options, note)
                await asyncio.sleep(15)
        stages = DataFolder(folder / "data").rows(_STAGES)
    arrived_at: dict[str, float] = {}
    for request in destination.requests:
        call_id = msgspec.json.decode(request.body)["call_id"]
        arrived_at.setdefault(call_id, request.at.timestamp())
    delays_s = sorted(arrived_at[each] - at for each, at in acked_at.items() if each in arrived_at)
    cut = statistics.quantiles(delays_s, n=100)
    minutes = (max(arrived_at.values()) - min(arrived_at.values())) / 60
    print(
        f"| {rate:g} | {seal_interval_s:g} | {len(delays_s)} of {len(acked_at)} "
        f"| {cut[49]:.2f} | {cut[98]:.2f} | {delays_s[-1]:.2f} | {len(delays_s) / minutes:.0f} |"
    )
    print("medians [s]: received to analysis fetched, to decided, to sent:", *stages[0])


def measure_rules(calls: int, rules: int) -> None:
    """Print the CPU seconds of syncs that touch no rule, with and without rules."""
    print("| rules | cpu s of a sync that touches none |\n|---|---|")
    for count in (0, rules):
        with tempfile.TemporaryDirectory() as name:
            own = Path(name) / "own"
            names = [f"rule_{number}" for number in range(count)]
            for each in names:
                write_rule(own, _RULE, name=each)
            own.mkdir(exist_ok=True)
            folder = acting(Path(name) / "data", *names, own=own)
            land_history(folder, calls)
            watcher = Watcher(folder)
            watcher.wanted()
            took_s = []
            for number in range(7):
                folder.land([b'{"traceId": "t%d", "eventName": "Other", "timestamp": 1}' % number])
                took_s.append(cpu_s(watcher.wanted))
            print(f"| {count} | {statistics.median(took_s[2:]):.3f} |")


def measure_history(numbers: list[int]) -> None:
    """Print the CPU seconds of a sync of ten calls that a rule wants, for each number of calls before."""
    print("| calls acted on before | cpu s of a sync of ten calls | of the look at them |\n|---|---|---|")
    totals = []
    for count in numbers:
        with tempfile.TemporaryDirectory() as name:
            own = Path(name) / "own"
            write_rule(own, _RULE)
            folder = acting(Path(name) / "data", "mine", own=own)
            land_history(folder, count)
            land_acted(folder, count)
            watcher = Watcher(folder)
            watcher.wanted()
            sync_s, look_s = [], []
            for number in range(7):
                at_s = 100 + number
                new = range(count + 10 * number, count + 10 * number + 10)
                folder.land([body for each in new for body in as_verbex(each, call(each, at_s))])
                sync_s.append(cpu_s(folder.sync))
                look_s.append(cpu_s(lambda: len(watcher.look().actions)))  # noqa: B023
                watcher.log.land()
            totals.append(statistics.median(sync_s[2:]) + statistics.median(look_s[2:]))
            print(
                f"| {count:,} | {statistics.median(sync_s[2:]):.3f} | {statistics.median(look_s[2:]):.3f} |"
            )
    print(f"ratio {totals[-1] / totals[0]:.2f}")


def land_history(folder: DataFolder, calls: int) -> None:
    """Land calls that ended in the months before."""
    for place, numbers in enumerate(portions(calls)):
        bodies, at = [], []
        for number in numbers:
            since_s = -60 * (calls - number)
            bodies += as_verbex(number, call(number, since_s))
            at += [NAMED_AT + timedelta(seconds=since_s)] * 2
        rows = {
            "receiver_id": [f"history{place}"] * len(bodies),
            "sequence": range(len(bodies)),
            "received_at": [NAMED_AT - timedelta(days=1)] * len(bodies),
            "trace_id": [f"{letter}{number}" for number in numbers for letter in "se"],
            "event_name": ["CallHandler.CallStarted", "CallHandler.CallEnded"] * len(numbers),
            "verified_by": ["unsigned"] * len(bodies),
            "problem": [None] * len(bodies),
            "headers": [[]] * len(bodies),
            "body": bodies,
            "header_mismatch": [None] * len(bodies),
        }
        folder.landing.write(pa.Table.from_pydict(rows, EVENT_SCHEMA), zone=EVENTS, name=f"history{place}")


def as_verbex(number: int, bodies: list[bytes]) -> list[bytes]:
    """Return events with an id that begins with a time, as Verbex makes them: so loads find calls quickly."""
    return [body.replace(b"call-", b"%08x-" % (1_700_000_000 + number)) for body in bodies]


def land_acted(folder: DataFolder, calls: int) -> None:
    """Land what became of an action for each of these calls."""
    for place, numbers in enumerate(portions(calls)):
        rows = []
        for number in numbers:
            call_id = f"{1_700_000_000 + number:08x}-{number}"
            identity = '{"call_id":"' + call_id + '"}'
            shared = {
                "actor_id": f"history{place}",
                "recorded_at": NAMED_AT - timedelta(days=1),
                "rule": "mine",
                "action_id": action_id_of("mine", identity, 1),
                "identity": identity,
                "call_id": call_id,
            }
            begun = {"kind": "http", "revision": 1, "happened_at": NAMED_AT, "body": b"{}"}
            rows += [
                {**shared, **begun, "sequence": 2 * number, "step": "intended", "step_number": 1},
                {**shared, "sequence": 2 * number + 1, "step": "sent", "step_number": 2, "http_status": 200},
            ]
        folder.landing.write(pa.Table.from_pylist(rows, ACTION_SCHEMA), zone=ACTIONS, name=f"history{place}")


def portions(count: int) -> Iterator[range]:
    """Yield numbers from 0 on, so many at a time that memory stays small."""
    for begin in range(0, count, _PORTION):
        yield range(begin, min(begin + _PORTION, count))


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that this process spent on some work."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["arrive", "rules", "history"])
    parser.add_argument("--rate", type=float, default=20, help="calls a second")
    parser.add_argument("--duration-s", type=float, default=60)
    parser.add_argument("--seal-interval-s", type=float, default=1)
    parser.add_argument("--calls", type=int, nargs="+", default=[20_000])
    parser.add_argument("--rules", type=int, default=20)
    options = parser.parse_args()
    if options.what == "rules":
        measure_rules(options.calls[0], options.rules)
    elif options.what == "history":
        measure_history(options.calls)
    else:
        print(
            "| calls/s | seal interval s | arrived | p50 s | p99 s | max s | requests a minute |\n"
            + "|---" * 7
            + "|"
        )
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(arrive(Path(name), options.rate, options.duration_s, options.seal_interval_s))


if __name__ == "__main__":
    main()
