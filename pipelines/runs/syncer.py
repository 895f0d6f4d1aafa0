"""The work of the commands: jobs in their order, as Dagster runs that the UI shows.

The order of jobs belongs here. The jobs themselves do not: see `pipelines.jobs`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import dagster as dg

from connector.landing.compaction import compact_crowded
from connector.settings import Settings
from connector.system.counts import counted
from connector.system.lock import is_held
from connector.system.progress import Progress, no_progress
from connector.verbex.client import api_key_of
from pipelines.actions.due import has_work
from pipelines.actions.paths import lock_of
from pipelines.actions.pause import is_paused
from pipelines.assets.acted import report_checks
from pipelines.definitions import build_definitions
from pipelines.enrichment.due import count_due
from pipelines.enrichment.span import Span
from pipelines.instance.home import open_instance
from pipelines.instance.retention import forget_old_records
from pipelines.reconciliation.comparison import Comparison, read_comparison
from pipelines.reconciliation.sweep import Swept
from pipelines.resources import WarehouseResource
from pipelines.runs.execute import (
    PartlyPublishedError,
    RunFailedError,
    RunReport,
    run_actions,
    run_backfill,
    run_export,
    run_fetch,
    run_load,
    run_verify,
)
from pipelines.runs.follower import Follower
from pipelines.runs.patience import Echo, Patience, describe
from pipelines.runs.reports import describe_passed_over
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.intake import explain_copied_days


def no_echo(_: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Syncer:
    """The jobs of one data folder, run in this process."""

    settings: Settings
    definitions: dg.Definitions
    folder: DataFolder
    instance: dg.DagsterInstance

    def run(self, echo: Echo) -> None:
        """Load what landed, ask Verbex for what is due, load the answers, and export.

        Raises:
            PartlyPublishedError: Tables could not be updated. Everything else was done.
            RunFailedError: A run failed. What was published before stays published. If only a target can't be
                written, everything else was done.
        """
        forget_old_records(self.instance, self.settings.data_dir, datetime.now(UTC))
        failure: RunFailedError | None = self._load(echo)
        if count_due(self.folder, datetime.now(UTC)):
            if self.settings.api_key is None:
                echo("Verbex was not asked for what is due. To ask it, set VERBEX_API_KEY.")
            else:
                echo(_fetched(run_fetch(self.definitions, self.instance)))
                failure = self._load(echo)
        failure = self._act(echo) or failure
        self._compact(echo)
        try:
            self._export(echo)
        except RunFailedError as error:
            raise RunFailedError(f"{failure}\n{error}" if failure else str(error)) from None
        if failure is not None:
            raise failure

    def _act(self, echo: Echo) -> RunFailedError | None:
        """Send what rules want, and load what became of it. A process that does so already goes on."""
        if not self.settings.actions or is_held(lock_of(self.folder)):
            return None
        if is_paused(self.folder.path):
            echo("Actions are paused. `verbex-sync actions resume` lets them go out again.")
            return None
        failure: RunFailedError | None = None
        for _ in range(2):  # what a killed process left behind is loaded before anything new goes out
            if failure is None and has_work(self.settings, self.folder, datetime.now(UTC)):
                failure = self._act_and_load(echo)
        report_checks(self.instance, self.folder, self.settings.actions)
        return failure

    def _act_and_load(self, echo: Echo) -> RunFailedError | None:
        failure: RunFailedError | None = None
        try:
            for metadata in run_actions(self.definitions, self.instance).assets.values():
                counts = {name: metadata[name] for name in ("sent", "tried", "held", "failed", "unknown")}
                if done := ", ".join(f"{count} {name}" for name, count in counts.items() if count):
                    echo(f"Rule {metadata['rule']}: {done}")
        except RunFailedError as error:
            failure = error
        held_back = self._load(echo)
        return RunFailedError(f"{failure}\n{held_back}") if failure and held_back else failure or held_back

    def _export(self, echo: Echo) -> None:
        if self.settings.exports:
            for metadata in run_export(self.definitions, self.instance).assets.values():
                written, deleted = (
                    counted(metadata[name], "row") for name in ("rows_written", "rows_deleted")
                )
                echo(f"Exported to {metadata['target']}: {written} written, {deleted} deleted")

    def _export_if_possible(self) -> None:
        """Export what was published. One that fails is in Dagster; the next sync tries again."""
        with suppress(RunFailedError):
            self._export(no_echo)

    def _compact(self, echo: Echo) -> None:
        """Merge the small files of crowded days, so that the next look at landing is quick."""
        try:
            removed = compact_crowded(self.folder.landing)
        except Exception as error:  # noqa: BLE001 - the tables are published, and the next sync merges
            echo(f"Small landed files were not merged: {describe(error)}")
            return
        if removed:
            echo(f"Merged {removed} small landed files")

    def ask_again(self, span: Span, echo: Echo) -> None:
        """Load what landed, ask for what is due and for what is unavailable in `span`, and load the answers.

        Raises:
            NotAuthorizedError: No API key is set.
            RunFailedError: A run failed. What was published before stays published.
        """
        api_key_of(self.settings)
        # An earlier command that was stopped may have landed answers, which must not be asked for again.
        self._load(echo)
        echo(_fetched(run_fetch(self.definitions, self.instance, again=span)))
        failure = self._load(echo)
        self._export_if_possible()
        if failure is not None:
            raise failure

    def verify(self, span: Span) -> Comparison:
        """List the span's calls at Verbex, load everything that landed, and return what differs.

        Raises:
            NotAuthorizedError: No API key is set.
            RunFailedError: Verbex can't be asked, or the list could not be loaded.
        """
        api_key_of(self.settings)
        run_verify(self.definitions, self.instance, span)
        self._export_if_possible()
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
        self._load(no_echo)
        try:
            return run_backfill(self.definitions, self.instance, span)
        except PartlyPublishedError:
            raise
        except RunFailedError:
            self._load(no_echo)
            raise
        finally:
            self._export_if_possible()

    def follow(self, echo: Echo, *, is_first_load_needed: bool = False) -> None:
        """Load once in a Dagster run, then continuously without runs, until SIGINT or SIGTERM.

        A first load that fails is tried again like any other, unless only it does what is asked for, such as
        a full refresh.

        Raises:
            RunFailedError: The first load failed, and is needed.
        """
        if is_first_load_needed:
            self._load_first(echo)
        else:
            Patience("The first load", echo).attempt(lambda: self._load_first(echo))
        follower = Follower(self.settings, self.folder, self.instance, echo)
        with _stopped_by_signals(follower):
            follower.run()
        echo("Stopped.")

    def _load_first(self, echo: Echo) -> None:
        if failure := self._load(echo):
            echo(str(failure))

    def _load(self, echo: Echo) -> PartlyPublishedError | None:
        """Load what landed, and name what was passed over in landing.

        Returns:
            The error, if tables could not be updated and all others were published.
        """
        try:
            report = run_load(self.definitions, self.instance)
        except PartlyPublishedError as error:
            return error
        echo(_loaded(report))
        tables = (metadata.get("files_passed_over", {}) for metadata in report.assets.values())
        passed_over = {path: reason for table in tables for path, reason in table.items()}
        for line in describe_passed_over(passed_over | self._explain_copied_days(echo)):
            echo(line)
        return None

    def _explain_copied_days(self, echo: Echo) -> dict[str, str]:
        try:
            return explain_copied_days(self.folder.landing)
        except OSError as error:  # the tables are published, and the next load looks again
            echo(f"Copied folders in landing could not be looked for: {describe(error)}")
            return {}


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
        env_file: The file in which a person may have set Dagster's home.
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
