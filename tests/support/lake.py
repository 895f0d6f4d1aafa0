"""What tests of exports to a lake share: calls on days that are chosen, and ends at random moments."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.exports.export import Exported, export, verify
from pipelines.exports.target import Difference
from support import export_process
from support.data_folder import NOON_US, DataFolder, body
from support.deadline import HANG_S
from support.oracle import ENDED, STARTED

DAY_S = 86_400
FIRST_DAY = "2025-11-08"
EXPORTER = Path(export_process.__file__)


def land_call(folder: DataFolder, number: int, *names: str, day: int = 0, **payload: object) -> None:
    """Land the events of a call, by default its begin, on a day counted from `FIRST_DAY`."""
    events = [
        body(f"{name}{number}-{day}", name, f"c{number}", DAY_S * day + 5 * place, **payload)
        for place, name in enumerate(names or (STARTED,))
    ]
    folder.land(events, received_at_us=NOON_US + number * 1_000_000)


def write_mart(folder: DataFolder, name: str, text: str) -> None:
    """Write a mart of the customer's own."""
    assert folder.own_sql_dir is not None
    (folder.own_sql_dir / "marts" / f"{name}.sql").write_text(text)


def written(exported: Exported) -> dict[str, tuple[int, int]]:
    """Return the rows written and deleted by table."""
    return {table: (each.rows_written, each.rows_deleted) for table, each in exported.tables.items()}


def find_unequal(folder: DataFolder, url: str, tables: Sequence[str] = ()) -> list[Difference]:
    """Return the tables, or those of some names, that verify finds unequal."""
    return [found for found in verify(folder, url, tables=tables) if not found.is_equal]


def survive_kills(folder: DataFolder, url: str, *, kills: int, seed: int) -> Iterator[None]:
    """End exporting processes by SIGKILL while calls land. Yield after each, and after a last export."""
    rng = random.Random(seed)
    for number in range(kills):
        land_call(folder, number, *[STARTED, ENDED][: rng.randint(1, 2)], day=rng.randrange(3))
        if number > 1:
            land_call(folder, rng.randrange(number), day=rng.randrange(-1, 3))
        folder.sync(is_full_refresh=rng.random() < 0.1)
        step, delay_s = rng.randint(1, 1500 if number else 3000), rng.choice([0.0, rng.uniform(0, 0.05)])
        command = [sys.executable, str(EXPORTER), str(folder.path), str(step), str(delay_s)]
        done = subprocess.run(command, input=url, text=True, timeout=HANG_S, check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        yield
    export(folder, url, wait_s=HANG_S)
    yield
