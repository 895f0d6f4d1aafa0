"""The work of the commands: jobs in their order, as Dagster runs that the UI shows.

The order of jobs belongs here. The jobs themselves do not: see `pipelines.jobs`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import dagster as dg

from connector.settings import Settings
from connector.system.counts import counted
from connector.system.progress import Progress, no_progress
from connector.verbex.client import api_key_of
from pipelines.definitions import build_definitions
from pipelines.enrichment.due import count_due
from pipelines.enrichment.span import Span
from pipelines.instance.home import open_instance
from pipelines.instance.retention import forget_old_records
from pipelines.reconciliation.comparison import Comparison, read_comparison
from pipelines.reconciliation.sweep import Swept
from pipelines.resources import WarehouseResource
from pipelines.runs.execute import RunFailedError, RunReport, run_backfill, run_fetch, run_load, run_verify
from pipelines.runs.follower import Follower
from pipelines.runs.patience import Echo
from pipelines.warehouse.data_folder import DataFolder


@dataclass(frozen=True)
class Syncer:
    """The jobs of one data folder, run in this process."""

    settings: Settings
    definitions: dg.Definitions
    folder: DataFolder
    instance: dg.DagsterInstance

    def run(self, echo: Echo) -> None:
        """Load what landed, ask Verbex for what is due, and load the answers.

        Raises:
            RunFailedError: A run failed. What was published before stays published.
        """
        forget_old_records(self.instance, self.settings.data_dir, datetime.now(UTC))
        echo(_loaded(run_load(self.definitions, self.instance)))
        if not count_due(self.folder, datetime.now(UTC)):
            return
        if self.settings.api_key is None:
            echo("Verbex was not asked for what is due. To ask it, set VERBEX_API_KEY.")
            return
        echo(_fetched(run_fetch(self.definitions, self.instance)))
        echo(_loaded(run_load(self.definitions, self.instance)))

    def ask_again(self, span: Span, echo: Echo) -> None:
        """Load what landed, ask for what is due and for what is unavailable in `span`, and load the answers.

        Raises:
            NotAuthorizedError: No API key is set.
            RunFailedError: A run failed. What was published before stays published.
        """
        api_key_of(self.settings)
        # An earlier command that was stopped may have landed answers, which must not be asked for again.
        echo(_loaded(run_load(self.definitions, self.instance)))
        echo(_fetched(run_fetch(self.definitions, self.instance, again=span)))
        echo(_loaded(run_load(self.definitions, self.instance)))

    def verify(self, span: Span) -> Comparison:
        """List the span's calls at Verbex, load everything that landed, and return what differs.

        Raises:
            NotAuthorizedError: No API key is set.
            RunFailedError: Verbex can't be asked, or the list could not be loaded.
        """
        api_key_of(self.settings)
        run_verify(self.definitions, self.instance, span)
        return read_comparison(self.folder, span)

    def backfill(self, span: Span) -> Swept:
        """List the span's calls at Verbex, without days that were read before, and load them.

        Raises:
            NotAuthorizedError: No API key is set.
            RunFailedError: Verbex can't be asked, or what was read could not be loaded. Days that were read
                before that are not asked for again.
        """
        api_key_of(self.settings)
        # An earlier backfill that was stopped may have landed days, which must not be read again.
        run_load(self.definitions, self.instance)
        try:
            return run_backfill(self.definitions, self.instance, span)
        except RunFailedError:
            run_load(self.definitions, self.instance)
            raise

    def follow(self, echo: Echo) -> None:
        """Load once in a Dagster run, then continuously without runs, until SIGINT or SIGTERM.

        Raises:
            RunFailedError: The first load failed. What was published before stays published.
        """
        echo(_loaded(run_load(self.definitions, self.instance)))
        follower = Follower(self.settings, self.folder, self.instance, echo)
        with _stopped_by_signals(follower):
            follower.run()
        echo("Stopped.")


@contextmanager
def open_syncer(
    settings: Settings,
    env_file: Path,
    *,
    is_full_refresh: bool = False,
    is_loss_known: bool = False,
    progress: Progress = no_progress,
) -> Iterator[Syncer]:
    """Open a syncer whose runs are recorded in the Dagster home that the UI shows.

    Args:
        settings: Where things are, and how to ask Verbex.
        env_file: The file in which Dagster's home is remembered.
        is_full_refresh: Whether loads build every table from scratch.
        is_loss_known: Whether loads continue if landing lacks files that were loaded before.
        progress: Called with the number of days of Verbex's list that are read, and the number of all days.
    """
    folder = DataFolder.from_settings(settings)
    warehouse = WarehouseResource(folder, is_full_refresh=is_full_refresh, is_loss_known=is_loss_known)
    definitions = build_definitions(settings, warehouse, progress)
    with open_instance(settings.data_dir, env_file) as instance:
        yield Syncer(settings, definitions, warehouse.folder, instance)


@contextmanager
def _stopped_by_signals(follower: Follower) -> Iterator[None]:
    """Let a first signal stop the follower after its current step, and a second one interrupt it.

    An exception in the middle of DuckDB's work would be reported as a failure of that work.
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
    read = f"{counted(events['rows_read'], 'delivery')} from {counted(events['files_read'], 'file')}"
    rows = [counted(asset["dagster/row_count"], noun) for asset, noun in ((events, "event"), (calls, "call"))]
    return f"Loaded {read} into {' and '.join(rows)} ({report.duration_s:.1f} s)"


def _fetched(report: RunReport) -> str:
    ((_, metadata),) = report.assets.items()
    outcomes = ", ".join(f"{count} {name}" for name, count in metadata.items() if name != "asked")
    times = counted(metadata["asked"], "time")
    return f"Asked Verbex {times}: {outcomes or 'nothing'} ({report.duration_s:.1f} s)"
