"""What the warehouse's benchmark measures, each part in a process of its own.

`measure` runs one and returns what it took; as a script this module runs a part and prints that. How parts
are compared is `warehouse.py`'s to say, how history is made `history.py`'s. dlt's parts run in an
interpreter that has dlt and nothing of ours, so that nothing of ours is imported at the top.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH_ROWS = 100_000

_FIELDS = (
    "$.organizationId",
    "$.payload.call_id",
    "$.payload.agent_id",
    "$.payload.status",
    "$.payload.reason",
    "$.timestamp",
    "$.payload.timestamp",
)
_EXTRACTED = f"""
    select
        trace_id,
        event_name,
        received_at,
        verified_by,
        decode(body) as body,
        json_extract_string(decode(body), {list(_FIELDS)}) as field
    from read_parquet(?)
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True)
class Measured:
    """What a part took: seconds by step, processor time, and the most memory that its process ever had."""

    steps_s: dict[str, float]
    cpu_s: float
    peak_mib: float

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(self.steps_s.values())


class Stopwatch:
    """Adds up the time of named steps."""

    def __init__(self) -> None:
        self.steps_s: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as part of step `name`."""
        began_s = time.perf_counter()
        yield
        self.steps_s[name] = self.steps_s.get(name, 0.0) + time.perf_counter() - began_s


Part = Callable[[Path, Path, Stopwatch], None]


def measure(part: str, landing: Path, target: Path, *, python: str = sys.executable) -> Measured:
    """Run a part in a fresh process: what lies in `landing` into a warehouse folder or file `target`."""
    command = [python, __file__, part, str(landing), str(target)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def sync(landing: Path, target: Path, watch: Stopwatch) -> None:
    """Our sync, as the assets do it, without Dagster."""
    _sync(landing, target, watch, is_full_refresh=False)


def rebuild(landing: Path, target: Path, watch: Stopwatch) -> None:
    """Our full refresh: the same, every table from landing."""
    _sync(landing, target, watch, is_full_refresh=True)


def extract(landing: Path, target: Path, watch: Stopwatch) -> None:
    """DuckDB alone: read the same files, extract the same fields of the body, write a table."""
    with watch.step("extract"), _new_database(target) as connection:
        connection.execute(f"create table extracted as {_EXTRACTED}", [_paths(landing)])


def copy(landing: Path, target: Path, watch: Stopwatch) -> None:
    """DuckDB alone: copy the rows that dlt is given into a table, with nothing removed and nothing read."""
    with watch.step("copy"), _new_database(target) as connection:
        connection.execute(
            "create table copied as select * exclude (headers) from read_parquet(?)", [_paths(landing)]
        )


def refresh_by_hand(landing: Path, target: Path, watch: Stopwatch) -> None:
    """What one would write at first: both tables anew from all of landing, `row_number` for duplicates."""
    with _new_database(target) as connection:
        with watch.step("events"):
            connection.execute(
                f"""
                create or replace table events as
                select
                    * exclude (field, row_number),
                    field[1] as organization_id,
                    field[2] as call_id,
                    field[3] as agent_id,
                    field[4] as status,
                    field[5] as reason,
                    to_timestamp(field[6]::double) as occurred_at,
                    to_timestamp(field[7]::double / 1000) as announced_at
                from (
                    select *, row_number() over (partition by trace_id order by received_at) as row_number
                    from ({_EXTRACTED})
                )
                where row_number = 1
                """,  # noqa: S608 - composed of constants
                [_paths(landing)],
            )
        with watch.step("calls"):
            connection.execute(
                """
                create or replace table calls as
                select
                    call_id,
                    any_value(organization_id) as organization_id,
                    any_value(agent_id) as agent_id,
                    min(occurred_at) filter (event_name = 'CallHandler.CallStarted') as started_at,
                    max(occurred_at) filter (event_name = 'CallHandler.CallEnded') as ended_at,
                    max(occurred_at) filter (event_name = 'CallHandler.CallTransferred') as transferred_at,
                    max(occurred_at) filter (event_name = 'callAnalysis.pcaCompleted') as pca_completed_at,
                    epoch(ended_at - started_at) as duration_s,
                    epoch(pca_completed_at - ended_at) as pca_lag_s,
                    case
                        when ended_at is not null or pca_completed_at is not null then 'completed'
                        else 'in_progress'
                    end as status,
                    count(*) as event_count,
                    max(received_at) as updated_at
                from events
                where call_id is not null
                group by call_id
                """
            )


def dlt_arrow(landing: Path, target: Path, watch: Stopwatch) -> None:
    """Let dlt merge Arrow batches on `trace_id` into DuckDB."""
    _load_arrow(landing, target, watch)


def dlt_arrow_fields(landing: Path, target: Path, watch: Stopwatch) -> None:
    """The same, and then the fields of the bodies read by SQL through dlt, so that the columns are ours."""
    pipeline = _load_arrow(landing, target, watch)
    with watch.step("fields"), pipeline.sql_client() as client:
        client.execute_sql(f"create table events_read as {_EXTRACTED.replace('read_parquet(?)', 'events')}")


def dlt_dicts(landing: Path, target: Path, watch: Stopwatch) -> None:
    """Let dlt merge Python dicts, the bodies as JSON reads them, on `trace_id` into DuckDB."""
    import pyarrow.dataset as ds

    columns = ["trace_id", "event_name", "received_at", "verified_by", "body"]
    batches = ds.dataset(_paths(landing)).to_batches(columns=columns, batch_size=BATCH_ROWS)
    rows = (row | {"body": json.loads(row["body"])} for batch in batches for row in batch.to_pylist())
    _run_dlt(rows, target, watch)


def _sync(landing: Path, target: Path, watch: Stopwatch, *, is_full_refresh: bool) -> None:
    from datetime import UTC, datetime

    from pipelines.warehouse.data_folder import DataFolder
    from pipelines.warehouse.session import open_session

    with watch.step("open, catch up"):
        opening = open_session(DataFolder(target, str(landing)), is_full_refresh=is_full_refresh)
        work = opening.__enter__()
    for model in work.models:
        with watch.step(model.table):
            work.update(model)
    with watch.step("publish"):
        work.publish(datetime.now(UTC))
        opening.__exit__(None, None, None)


def _load_arrow(landing: Path, target: Path, watch: Stopwatch) -> Any:  # noqa: ANN401 - dlt is not here
    import pyarrow.dataset as ds

    dataset = ds.dataset(_paths(landing))
    names = [name for name in dataset.schema.names if name != "headers"]
    batches = (batch for batch in dataset.to_batches(columns=names, batch_size=BATCH_ROWS))
    return _run_dlt(batches, target, watch)


def _run_dlt(rows: Iterator[object], target: Path, watch: Stopwatch) -> Any:  # noqa: ANN401 - dlt is not here
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"  # it warns at every batch that its schema has more hints
    import dlt  # type: ignore[import-not-found, unused-ignore]

    target.unlink(missing_ok=True)
    with watch.step("run"):
        pipeline = dlt.pipeline(
            "verbex",
            pipelines_dir=str(target.with_suffix(".dlt")),
            destination=dlt.destinations.duckdb(str(target)),
            dataset_name="verbex",
        )
        pipeline.run(
            dlt.resource(rows, name="events", write_disposition="merge", primary_key="trace_id"),
        ).raise_on_failed_jobs()
    return pipeline


@contextmanager
def _new_database(path: Path) -> Iterator["duckdb.DuckDBPyConnection"]:  # type: ignore[name-defined]  # noqa: F821
    import duckdb

    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def _paths(landing: Path) -> list[str]:
    return sorted(str(path) for path in landing.glob("date=*/*.parquet"))


def _peak_mib() -> float:
    # Of this process's own life: what `getrusage` tells is inherited from the parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    """Run the part that the arguments name."""
    parts: dict[str, Part] = {
        part.__name__: part
        for part in (sync, rebuild, extract, copy, refresh_by_hand, dlt_arrow, dlt_arrow_fields, dlt_dicts)
    }
    watch, began_s = Stopwatch(), time.process_time()
    parts[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), watch)
    cpu_s = time.process_time() - began_s
    print(json.dumps({"steps_s": watch.steps_s, "cpu_s": cpu_s, "peak_mib": _peak_mib()}))


if __name__ == "__main__":
    main()
