"""How fast the receiver acknowledges, as ratios measured in one run.

Usage: `python tests/benchmarks/receiver.py [--seconds 2] [--repeats 5]`. Needs wrk and two cores; with
PostgreSQL's server programs and the `bench` extra there is a row for FastAPI with one COMMIT a request.

Every request is a signed event of the documented shape, each different. The server has one core and
the client the other; in the second table nobody is pinned. Rounds of the contenders alternate, and a
ratio is the median of the rounds' ratios, so that a busy machine disturbs all alike.
"""

import argparse
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from connector.verbex.signature import SIGNATURE_HEADER, sign

SECRET = "a signing secret"
RIVALS = Path(__file__).with_name("receiver_rivals.py")
REQUEST_COUNT = 20_000
WRK_SCRIPT = """
local requests = dofile("%s")
local position = 0
request = function() position = position %% #requests + 1; return requests[position] end
done = function(summary, latency)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Round:
    """One measurement; times in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass
class Contender:
    """A server that is up, and its rounds by number of connections."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    rounds: dict[int, list[Round]] = field(default_factory=dict)

    def peak_memory_mb(self) -> float:
        """The most memory its process had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64, 256])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        script = write_requests(folder)
        syncs_ms: list[float] = []
        database = stack.enter_context(postgres(folder))
        for title, server, client, counts in (
            (
                "server on one core, client on the other",
                ["taskset", "-c", "1"],
                ["taskset", "-c", "0"],
                options.connections,
            ),
            ("nobody pinned", [], [], (64,)),
        ):
            with ExitStack() as servers:
                contenders = [
                    servers.enter_context(contender(name, server, folder, database))
                    for name in ("receiver", "noop", "file", *(["postgres"] if database else []))
                ]
                for count in counts:
                    for _ in range(options.repeats):
                        syncs_ms.append(measure_sync_ms(folder))
                        for each in contenders:
                            each.rounds.setdefault(count, []).append(
                                measure(each.port, count, options.seconds, client, script)
                            )
                print_table(title, contenders)
        print(
            f"this machine's append + fdatasync between the rounds: p50 {statistics.median(syncs_ms):.2f} ms"
        )


def print_table(title: str, contenders: list[Contender]) -> None:
    """Medians, and the receiver's rate and p99 over each rival's."""
    print(
        f"{title}\n{'connections':>11} {'server':<10} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7} "
        f"{'peak MB':>8} {'rate ratio':>11} {'p99 ratio':>10}"
    )
    receiver = contenders[0]
    for count in receiver.rounds:
        for each in contenders:
            rounds, ours = each.rounds[count], receiver.rounds[count]
            pairs = list(zip(ours, rounds, strict=True))
            rate = statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)
            p99 = statistics.median(mine.p99_ms / theirs.p99_ms for mine, theirs in pairs)
            print(
                f"{count:>11} {each.name:<10} {median(rounds, 'rate'):>8.0f} "
                f"{median(rounds, 'p50_ms'):>8.2f} "
                f"{median(rounds, 'p99_ms'):>8.2f} {sum(r.errors for r in rounds):>7} "
                f"{each.peak_memory_mb():>8.0f} {rate:>11.2f} {p99:>10.2f}"
            )
    print()


def median(rounds: list[Round], name: str) -> float:
    """The median of one figure."""
    return float(statistics.median(getattr(each, name) for each in rounds))


def measure(port: int, connections: int, seconds: int, prefix: list[str], script: Path) -> Round:
    """One round of load."""
    url = f"http://127.0.0.1:{port}/webhooks/verbex"
    command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    assert found is not None, output
    requests, duration_us, p50_us, p99_us, errors = map(int, found.groups())
    return Round(requests / duration_us * 1e6, p50_us / 1000, p99_us / 1000, errors)


@contextmanager
def contender(name: str, prefix: list[str], folder: Path, database: str) -> Iterator[Contender]:
    """Start a server on a free port, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    place = Path(tempfile.mkdtemp(dir=folder))
    argument = database if name == "postgres" else str(place)
    command = [sys.executable, str(RIVALS), name, str(port), argument]
    if name == "receiver":
        command = [sys.executable, "-m", "connector.serve"]
    settings = {"VERBEX_DATA_DIR": str(place), "VERBEX_PORT": str(port), "VERBEX_WEBHOOK_SECRETS": SECRET}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([*prefix, *command], env=os.environ | settings, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        yield Contender(name, process, port)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once somebody listens."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"A server ended with exit code {process.returncode} instead of listening")


def write_requests(folder: Path) -> Path:
    """Signed requests as a Lua table, and the script that sends them in turn."""
    chance, now_s, requests = random.Random(1), int(time.time()), []
    for _ in range(REQUEST_COUNT):
        trace_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        payload = {
            "call_id": f"{chance.getrandbits(96):024x}",
            "agent_id": str(uuid.UUID(int=1)),
            "status": "success",
        }
        event = {
            "organizationId": str(uuid.UUID(int=2)),
            "traceId": trace_id,
            "eventName": "CallHandler.CallStarted",
            "timestamp": now_s + chance.random(),
            "payload": payload,
        }
        body = json.dumps(event, indent=2)
        headers = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "User-Agent": "ReactorNetty/1.1.13",
            "X-Webhook-Event": event["eventName"],
            "X-Webhook-Traceid": trace_id,
            "X-Webhook-Timestamp": "2025-11-10T01:01:14.552985018Z",
            SIGNATURE_HEADER: sign(body.encode(), [SECRET], signed_at_s=now_s),
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        requests.append(json.dumps(f"POST /webhooks/verbex HTTP/1.1\r\n{head}\r\n{body}"))
    table, script = folder / "requests.lua", folder / "script.lua"
    table.write_text("return {\n" + ",\n".join(requests) + "\n}\n")
    script.write_text(WRK_SCRIPT % table)
    return script


def measure_sync_ms(folder: Path) -> float:
    """The median time to append 500 bytes to a file and sync it."""
    descriptor = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times = []
    for _ in range(200):
        started_at = time.perf_counter()
        os.write(descriptor, bytes(500))
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started_at)
    os.close(descriptor)
    return statistics.median(times) * 1000


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own, and how to connect to it; nothing if its programs or rights are missing."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or os.geteuid() != 0:
        print("no PostgreSQL here, or no root to start it as its user: that row is left out\n")
        yield ""
        return
    data = folder / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    options = f"-c listen_addresses= -k {data}"
    subprocess.run(
        [*as_postgres, str(programs[-1] / "initdb"), "-D", str(data / "db")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    control = [*as_postgres, str(programs[-1] / "pg_ctl"), "-D", str(data / "db"), "-w"]
    subprocess.run(
        [*control, "-o", options, "-l", str(data / "log"), "start"], check=True, stdout=subprocess.DEVNULL
    )
    try:
        yield f"host={data} user=postgres dbname=postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
