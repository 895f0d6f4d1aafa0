"""What the receiver's tests share: deliveries with good defaults, and a real receiver process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from connector.delivery import Delivery
from connector.landing import EVENTS_ZONE, Landing
from connector.schemas import EVENT_SCHEMA
from connector.segment import SegmentReader

SECRET = "a signing secret"
SEED_FOLDER = Path(__file__).parent / "data" / "seed"
SEED_BODIES = {path.stem: path.read_bytes() for path in sorted(SEED_FOLDER.glob("*.json"))}
NOON_US = 1_762_689_600_000_000
"""2025-11-09 12:00 UTC."""

_numbers = count(1)


def make_body(trace_id: str | None = None, **changes: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The body of a CallStarted event; `changes` replace or add members at the top."""
    event: dict[str, Any] = json.loads(SEED_BODIES["call_started"])
    event["traceId"] = trace_id or f"trace-{next(_numbers)}"
    return json.dumps(event | changes).encode()


def make_delivery(
    body: bytes = b"{}", *, received_at_us: int = NOON_US, trace_id: str | None = "a"
) -> Delivery:
    """A delivery as the receiver makes it."""
    headers = {"content-type": "application/json"}
    return Delivery(received_at_us, trace_id, "CallHandler.CallStarted", "unsigned", None, headers, body)


def read_segment(path: Path) -> tuple[pa.Table, int]:
    """All deliveries of a segment, and the number of torn bytes at its end."""
    reader = SegmentReader(path)
    table = pa.Table.from_batches(reader.batches(), EVENT_SCHEMA)
    return table, reader.torn_bytes


def landed_rows(landing: Landing) -> list[dict[str, Any]]:
    """All landed deliveries, in the order of files."""
    tables = [landing.read(file, EVENT_SCHEMA) for file in landing.list_files(EVENTS_ZONE)]
    rows: list[dict[str, Any]] = pa.concat_tables([EVENT_SCHEMA.empty_table(), *tables]).to_pylist()
    return rows


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for something that announces itself to nobody."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


class ReceiverProcess:
    """A receiver in a process of its own, listening on a free port; ended when the block ends."""

    def __init__(self, data_dir: Path, *, wrapper: Sequence[str] = (), **environment: str) -> None:
        settings = {
            "DATA_DIR": str(data_dir),
            "PORT": "0",
            "ALLOW_UNSIGNED": "true",
            "SEAL_INTERVAL_S": "0.2",
        }
        given = {name.removeprefix("VERBEX_"): value for name, value in environment.items()}
        self.data_dir = data_dir
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self._environment = os.environ | {
            f"VERBEX_{name}": value for name, value in (settings | given).items()
        }
        self._command = [*wrapper, sys.executable, "-m", "connector.serve"]

    def __enter__(self) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()
        assert "listening on" in self.line, self.log_path.read_text()
        self.url = self.line.split("listening on ")[1].split(",")[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def log(self) -> str:
        """Everything it wrote to standard error."""
        return self.log_path.read_text()

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 20) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)
