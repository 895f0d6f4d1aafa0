"""`verbex-sync sync --follow`: tables that are seconds behind, for as long as it runs.

The loop and its rhythm belong here. Loading does without a Dagster run each time, whose records would cost
more time and disk than the rows; what was done is reported to Dagster once a minute instead, as
materialisations and check results of the same assets. Fetching goes on beside it, so that a slow API delays
no row.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from connector.settings import Settings
from connector.system.lock import LockHeldError
from connector.verbex.answer import NotAuthorizedError
from pipelines.assets.metadata import (
    check_results,
    checks_of,
    finding_result,
    published_metadata,
    update_metadata,
)
from pipelines.assets.tables import PUBLISHED
from pipelines.enrichment.due import count_due
from pipelines.enrichment.fetch import ANSWERS, Fetched, fetch_all, held_until
from pipelines.instance.retention import forget_old_records
from pipelines.models.model import Model, ModelError, load_checks, load_models
from pipelines.resources import WarehouseResource
from pipelines.sensors import list_fresh
from pipelines.warehouse.audit import AuditError
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.session import Update

Echo = Callable[[str], None]

_LOOK_EVERY_S = 0.2
_FETCH_EVERY_S = 1.0
_REPORT_EVERY_S = 60.0
_REPEAT_EVERY_S = 3600.0
_PAUSE_AFTER_FAILURE_S = 60.0


@dataclass
class Follower:
    """Follows one landing zone into one warehouse, and tells one Dagster instance."""

    settings: Settings
    warehouse: WarehouseResource
    instance: dg.DagsterInstance
    echo: Echo
    _models: tuple[Model, ...] = field(init=False)
    _unreported: dict[str, tuple[Model, Update]] = field(default_factory=dict)
    _told: dict[dg.AssetCheckKey, tuple[dg.AssetCheckEvaluation, float]] = field(default_factory=dict)
    _tried: list[object] = field(default_factory=list)
    _is_published: bool = False
    _fetched: Fetched | None = None
    _fetch_pause_s: float = _FETCH_EVERY_S
    _is_stopping: bool = False
    _stop_fetching: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Let `run` end after what it is at; a signal's handler may call this."""
        self._is_stopping = True

    def __post_init__(self) -> None:
        """Know the tables that landed files are for."""
        self._models = load_models(self.warehouse.sql)

    def run(self) -> None:
        """Go on until `stop` or an interrupt; what is not reported yet is reported then."""
        reported_s = fetched_s = time.monotonic()
        fetch: Future[Fetched | None] | None = None
        with ThreadPoolExecutor(1) as fetcher:
            try:
                while not self._is_stopping:
                    self._load()
                    now_s = time.monotonic()
                    if now_s - fetched_s >= self._fetch_pause_s and (fetch is None or fetch.done()):
                        if fetch is not None:
                            self._note_fetch(fetch.result())
                        fetch, fetched_s = fetcher.submit(self._fetch), now_s
                    if now_s - reported_s >= _REPORT_EVERY_S:
                        self.report()
                        forget_old_records(self.instance, self.settings.data_dir, datetime.now(UTC))
                        reported_s = now_s
                    time.sleep(_LOOK_EVERY_S)
            finally:
                self._stop_fetching.set()
                self.report()

    def report(self) -> None:
        """Tell Dagster what was done since it was told last."""
        if self._fetched is not None:
            self._tell(dg.AssetMaterialization(ANSWERS, metadata=self._fetched.metadata))
            self._fetched = None
        if self._unreported and self._is_published:
            try:
                self._report_tables()
            except ModelError as error:
                self.echo(str(error))

    def _report_tables(self) -> None:
        checks = load_checks(self.warehouse.sql)
        status = self.warehouse.status()
        models = [model for model, _ in self._unreported.values()]
        facts = self.warehouse.facts(models)
        findings = self.warehouse.inspect(models, checks)
        for model, update in self._unreported.values():
            metadata = update_metadata(model, update, facts[model.table])
            self._tell(dg.AssetMaterialization(model.name, metadata=metadata))
            for result in check_results(model, checks_of(model, checks), update, findings[model.table]):
                self._tell_if_new(_evaluation(model, result))
        published = published_metadata(self.warehouse.published, status)
        self._tell(dg.AssetMaterialization(PUBLISHED, metadata=published))
        self._unreported.clear()

    def _tell(self, event: dg.AssetMaterialization | dg.AssetCheckEvaluation) -> None:
        self.instance.report_runless_asset_event(event)

    def _tell_if_new(self, evaluation: dg.AssetCheckEvaluation) -> None:
        """Tell a check's result once an hour and when it is another: most say the same for years."""
        now_s = time.monotonic()
        told, told_s = self._told.get(evaluation.asset_check_key, (None, now_s))
        if told != evaluation or now_s - told_s >= _REPEAT_EVERY_S:
            self._told[evaluation.asset_check_key] = (evaluation, now_s)
            self._tell(evaluation)

    def _load(self) -> None:
        fresh = list_fresh(self.warehouse, self._models)
        if not fresh or fresh == self._tried:
            return
        started_s = time.monotonic()
        try:
            updates = self._update_tables()
        except WarehouseBusyError as error:
            self.echo(str(error))
            return
        except AuditError as error:
            # Nothing is published; what lands next may mend it, and until then asking again is in vain.
            self._tried = list(fresh)
            self._tell_if_new(_evaluation(error.model, finding_result(error.finding)))
            self.echo(str(error))
            return
        except ModelError as error:
            self._tried = list(fresh)
            self.echo(str(error))
            return
        # files that could not be read are still fresh; they are tried again when something else lands
        self._tried = list(list_fresh(self.warehouse, self._models))
        deliveries = updates["events"].rows_read
        self.echo(f"Loaded {deliveries} deliveries ({time.monotonic() - started_s:.2f} s)")

    def _update_tables(self) -> dict[str, Update]:
        updates = {}
        self._is_published = False
        try:
            sync = self.warehouse.sync()
            for model in sync.models:
                updates[model.name] = sync.update(model)
                self._note(model, updates[model.name])
            self.warehouse.publish()
            self._is_published = True
        finally:
            self.warehouse.close()
        return updates

    def _note(self, model: Model, update: Update) -> None:
        """Remember an update for the next report, unless it changed nothing."""
        if not (update.unreadable or update.has_changed):
            return
        if model.name in self._unreported:
            update = self._unreported[model.name][1] + update
        self._unreported[model.name] = (model, update)

    def _note_fetch(self, fetched: Fetched | None) -> None:
        """Remember what a fetch came to for the next report, if it asked anything."""
        if fetched is not None:
            self._fetched = self._fetched + fetched if self._fetched else fetched

    def _fetch(self) -> Fetched | None:
        now = datetime.now(UTC)
        if self.settings.api_key is None or held_until(self.warehouse, now):
            return None
        if not count_due(self.warehouse, now):
            return None
        try:
            fetched = fetch_all(self.settings, self.warehouse, stop=self._stop_fetching)
        except (LockHeldError, NotAuthorizedError, OSError) as error:
            # Rows keep coming whatever becomes of the asking.
            self.echo(f"Nothing was asked: {error}")
            self._fetch_pause_s = _PAUSE_AFTER_FAILURE_S
            return None
        self._fetch_pause_s = _PAUSE_AFTER_FAILURE_S if fetched.stopped_by else _FETCH_EVERY_S
        self.echo(f"Asked Verbex {fetched.outcomes.total()} times")
        return fetched


def _evaluation(model: Model, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert result.check_name is not None  # noqa: S101 - all of ours are named
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(model.name),
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
    )
