"""`verbex-sync sync`: load, fetch and load again, in Dagster runs that the UI shows.

The order of jobs belongs here. The jobs are Dagster's own (`pipelines.definitions`).
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import dagster as dg

from connector.fetch.listing import Progress
from connector.settings import Settings
from connector.verbex.client import api_key_of
from pipelines.definitions import build_definitions
from pipelines.enrichment.due import count_due
from pipelines.enrichment.span import Span
from pipelines.instance.abandoned import fail_abandoned_runs
from pipelines.instance.home import ensure_home, hold_event_log, open_instance
from pipelines.instance.retention import forget_old_records
from pipelines.resources import WarehouseResource
from pipelines.runs.execute import RunReport, run_fetch, run_load
from pipelines.runs.follower import Follower

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Syncer:
    """Runs the jobs of one data folder in this process."""

    settings: Settings
    definitions: dg.Definitions
    warehouse: WarehouseResource
    instance: dg.DagsterInstance

    def run(self, echo: Echo) -> None:
        """Load what landed, ask Verbex for what is due, load the answers.

        Raises:
            RunFailedError: A run failed; what was published before still stands.
        """
        forget_old_records(self.instance, self.settings.data_dir, datetime.now(UTC))
        echo(_loaded(run_load(self.definitions, self.instance)))
        if not count_due(self.warehouse, datetime.now(UTC)):
            return
        if self.settings.api_key is None:
            echo("Verbex is not asked for what is due: set VERBEX_API_KEY.")
            return
        echo(_fetched(run_fetch(self.definitions, self.instance)))
        echo(_loaded(run_load(self.definitions, self.instance)))

    def ask_again(self, span: Span, echo: Echo) -> None:
        """Load what landed, ask for what is due and for what was given up in `span`, load the answers.

        Raises:
            NotAuthorizedError: There is no key to ask with.
            RunFailedError: A run failed; what was published before still stands.
        """
        api_key_of(self.settings)
        # What one that was stopped had landed already, the tables must know before it is asked for again.
        echo(_loaded(run_load(self.definitions, self.instance)))
        echo(_fetched(run_fetch(self.definitions, self.instance, again=span)))
        echo(_loaded(run_load(self.definitions, self.instance)))

    def follow(self, echo: Echo) -> None:
        """Load once in a run, then keep up without one each time, until SIGINT or SIGTERM.

        Raises:
            RunFailedError: The first load failed; what was published before still stands.
        """
        echo(_loaded(run_load(self.definitions, self.instance)))
        follower = Follower(self.settings, self.warehouse, self.instance, echo)
        with _stopped_by_signals(follower):
            follower.run()
        echo("Stopped.")


@contextmanager
def open_syncer(
    settings: Settings, env_file: Path, *, is_full_refresh: bool = False, progress: Progress | None = None
) -> Iterator[Syncer]:
    """A syncer whose runs are recorded in the Dagster home that the UI shows too.

    Args:
        settings: Where things are, and how to ask Verbex.
        env_file: Where Dagster's home is remembered.
        is_full_refresh: Whether loads build every table anew.
        progress: Told how many days of Verbex's list are read, and of how many.
    """
    ensure_home(settings.data_dir, env_file)
    warehouse = WarehouseResource.from_settings(settings, is_full_refresh=is_full_refresh)
    definitions = build_definitions(settings, warehouse, progress)
    with open_instance() as instance, hold_event_log(Path(instance.root_directory)):
        fail_abandoned_runs(instance)
        yield Syncer(settings, definitions, warehouse, instance)


@contextmanager
def _stopped_by_signals(follower: Follower) -> Iterator[None]:
    """A first signal stops it after what it is at, a second one interrupts.

    An exception in the middle of DuckDB's work would be told as a failure of that.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers are called
        follower.stop()
        signal.signal(number, signal.default_int_handler)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _loaded(report: RunReport) -> str:
    events = report.assets["events"]
    calls = report.assets["calls"]
    return (
        f"Loaded {events['rows_read']} deliveries from {events['files_read']} files into "
        f"{events['dagster/row_count']} events and {calls['dagster/row_count']} calls "
        f"({report.duration_s:.1f} s)"
    )


def _fetched(report: RunReport) -> str:
    ((_, metadata),) = report.assets.items()
    outcomes = ", ".join(f"{count} {name}" for name, count in metadata.items() if name != "asked")
    return f"Asked Verbex {metadata['asked']} times: {outcomes or 'nothing'} ({report.duration_s:.1f} s)"
