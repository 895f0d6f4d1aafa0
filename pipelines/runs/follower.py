"""`verbex-sync sync --follow`: keeps the tables seconds behind landing, for as long as it runs.

The loop and its timing belong here. A load is no Dagster run, because the records of a run would cost more
time and disk space than the rows. Instead, what was done is reported to Dagster once a minute, as
materialisations and check results of the same assets: see `pipelines.runs.reports`. Fetching runs at the same
time, so that a slow API delays no row, and so does the merging of small files.
"""

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from connector.errors import OperatorError
from connector.fetch.calls import Fetched
from connector.landing.files import LandedFile
from connector.settings import Settings
from pipelines.assets.acted import report_checks
from pipelines.enrichment.due import count_due
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.hold import held_until
from pipelines.exports.address import name_targets
from pipelines.instance.retention import forget_old_records
from pipelines.models.model import Model
from pipelines.models.sql_file import ModelError
from pipelines.runs.actions import BackgroundActions
from pipelines.runs.background import BackgroundCompaction
from pipelines.runs.exports import BackgroundExport
from pipelines.runs.patience import Echo, Patience, describe
from pipelines.runs.reports import Reports, describe_passed_over
from pipelines.runs.tally import Tally
from pipelines.warehouse.audit import AuditError
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.intake import list_new_files
from pipelines.warehouse.session import open_session
from pipelines.warehouse.update import TableUpdate

_LOOK_EVERY_S = 0.2
_LOOK_IN_BUCKET_EVERY_S = 1.0  # each look is a request that costs money
_COMPACT_EVERY_S = 20.0
_FETCH_EVERY_S = 1.0
_REPORT_EVERY_S = 60.0
_PAUSE_AFTER_FAILURE_S = 60.0
_FIRST_RETRY_S = 10.0
_LONGEST_RETRY_S = 600.0


@dataclass
class Follower:
    """The loop that loads what lands in one data folder, and reports to one Dagster instance."""

    settings: Settings
    folder: DataFolder
    instance: dg.DagsterInstance
    echo: Echo
    _models: tuple[Model, ...] = field(init=False)
    _reports: Reports = field(init=False)
    _tally: Tally = field(default_factory=Tally)
    _loading: Patience = field(init=False)
    _reporting: Patience = field(init=False)
    _compacting: Patience = field(init=False)
    _compaction: BackgroundCompaction = field(init=False)
    _exports: tuple[BackgroundExport, ...] = field(init=False)
    _actions: BackgroundActions = field(init=False)
    _tried: list[LandedFile] = field(default_factory=list)
    _retry_at_s: float = 0.0
    _retry_pause_s: float = _FIRST_RETRY_S
    _is_published: bool = False
    _fetch_pause_s: float = _FETCH_EVERY_S
    _is_stopping: bool = False
    _stop_fetching: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Load the models, and prepare the reports."""
        self._models = self.folder.models
        self._reports = Reports(self.folder, self.instance)
        self.echo = _never_failing(self.echo)
        self._loading = Patience("The load", self.echo)
        self._reporting = Patience("The report to Dagster", self.echo)
        self._compacting = Patience("The merging of small files", self.echo)
        self._compaction = BackgroundCompaction(self.folder.landing)
        names = name_targets(each.get_secret_value() for each in self.settings.exports)
        exports = (BackgroundExport(self.folder, url, name, self.echo) for url, name in names.items())
        self._exports = tuple(exports)
        self._actions = BackgroundActions(self.settings, self.folder, self.echo)

    def stop(self) -> None:
        """Let `run` end after its current step. A signal handler may call this."""
        self._is_stopping = True

    def run(self) -> None:
        """Load and fetch until `stop` or an interrupt, then report what is not reported yet."""
        self.echo("Following: what lands is loaded as it comes, and counted here once a minute.")
        reported_s = fetched_s = time.monotonic()
        compacted_s = -math.inf
        look_every_s = _LOOK_EVERY_S if self.folder.landing.is_local else _LOOK_IN_BUCKET_EVERY_S
        fetch: Future[Fetched | None] | None = None
        for each in self._exports:
            each.start()
        self._actions.start()
        with ThreadPoolExecutor(1) as fetcher:
            try:
                while not self._is_stopping:
                    self._loading.attempt(self.load_once)
                    now_s = time.monotonic()
                    if now_s - fetched_s >= self._fetch_pause_s and (fetch is None or fetch.done()):
                        self._count_fetched(fetch)
                        fetch, fetched_s = fetcher.submit(self._fetch), now_s
                    if now_s - reported_s >= _REPORT_EVERY_S:
                        self._reporting.attempt(self._report_and_forget)
                        self._say_what_was_done()
                        reported_s = now_s
                    if now_s - compacted_s >= _COMPACT_EVERY_S:
                        self._compacting.attempt(self._compaction.start_if_crowded)
                        compacted_s = now_s
                    time.sleep(look_every_s)
            finally:
                self._compaction.stop()
                self._stop_fetching.set()
                for each in self._exports:
                    each.stop()
                self._actions.stop()
                Patience("The last report to Dagster", self.echo).attempt(self.report)
                self._say_what_was_done()

    def report(self) -> None:
        """Report to Dagster what was done since the last report."""
        self._reports.report_fetched()
        for each in self._exports:
            self._reports.report_exported(each.name, each.address, each.done)
        for rule, acted in self._actions.take_done().items():
            self._reports.report_acted(rule, acted)
            self._tally.acted += acted.counts["sent"]
        report_checks(self.instance, self.folder, self.settings.actions)
        if self._is_published:
            try:
                self._reports.report_tables()
            except ModelError as error:
                self.echo(str(error))

    def load_once(self) -> None:
        """Load what landed into the tables, and publish them. Do nothing if nothing new landed."""
        new = list_new_files(self.folder, self._models)
        if not new or (new == self._tried and time.monotonic() < self._retry_at_s):
            return
        try:
            updates = self._update_tables()
        except WarehouseBusyError as error:
            self.echo(str(error))
            return
        except OperatorError as error:
            # Nothing is published. What lands next or a person may fix it, so the tries become rare.
            self._set_aside(new)
            if isinstance(error, AuditError):
                self._reports.report_audit(error)
            self.echo(str(error))
            return
        # Files that could not be read still count as new: the store may be back soon.
        self._set_aside(list_new_files(self.folder, self._models))
        passed_over = {path: why for update in updates.values() for path, why in update.passed_over.items()}
        for line in describe_passed_over(passed_over):
            self.echo(line)
        self._tally.add_load(updates["events"].rows_read)

    def _set_aside(self, files: list[LandedFile]) -> None:
        """Skip these files until something else lands, or for a pause that grows with each try."""
        is_again = files == self._tried
        self._retry_pause_s = min(2 * self._retry_pause_s, _LONGEST_RETRY_S) if is_again else _FIRST_RETRY_S
        self._retry_at_s = time.monotonic() + self._retry_pause_s
        self._tried = files

    def _report_and_forget(self) -> None:
        self.report()
        forget_old_records(self.instance, self.settings.data_dir, datetime.now(UTC))

    def _update_tables(self) -> dict[str, TableUpdate]:
        updates = {}
        self._is_published = False
        with open_session(self.folder) as session:
            for model in session.models:
                with suppress(AuditError, ModelError):  # those in `held_back`
                    updates[model.name] = session.update(model)
                    self._reports.add_update(model, updates[model.name])
            session.publish(datetime.now(UTC))
            for error in session.held_back.values():
                if isinstance(error, AuditError):
                    self._reports.report_audit(error)
                self.echo(str(error))
            for problem in session.unusable:
                self.echo(problem)
        self._is_published = True
        for each in self._exports:
            each.wake()
        return updates

    def _fetch(self) -> Fetched | None:
        now = datetime.now(UTC)
        try:
            if self.settings.api_key is None or held_until(self.folder, now):
                return None
            if not count_due(self.folder, now):
                return None
            fetched = fetch_all(self.settings, self.folder, stop=self._stop_fetching)
        except Exception as error:  # noqa: BLE001 - a failed fetch must not stop the loads
            reason = str(error) if isinstance(error, OperatorError) else describe(error)
            self.echo(f"The fetch failed: {reason}")
            self._fetch_pause_s = _PAUSE_AFTER_FAILURE_S
            return None
        self._fetch_pause_s = _PAUSE_AFTER_FAILURE_S if fetched.stopped_by else _FETCH_EVERY_S
        return fetched

    def _count_fetched(self, fetch: Future[Fetched | None] | None) -> None:
        if fetch is not None and (fetched := fetch.result()) is not None:
            self._reports.add_fetched(fetched)
            self._tally.asked += fetched.outcomes.total()

    def _say_what_was_done(self) -> None:
        if line := self._tally.take():
            self.echo(line)


def _never_failing(echo: Echo) -> Echo:
    def say(text: str) -> None:
        with suppress(OSError):  # the log is on a full disk, or its reader is gone
            echo(text)

    return say
