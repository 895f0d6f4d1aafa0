"""The reports of follow mode to Dagster: materialisations and check results, instead of a run for each load.

Collecting what was done, and when to repeat a result, belongs here. The shapes do not: see
`pipelines.assets.metadata`.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from connector.fetch.calls import Fetched
from pipelines.actions.attempts import Acted
from pipelines.assets.acted import acted_metadata
from pipelines.assets.exported import exported_metadata
from pipelines.assets.metadata import (
    check_results,
    checks_of,
    fetched_metadata,
    finding_result,
    journal_result,
    published_metadata,
    update_metadata,
)
from pipelines.exports.address import Address
from pipelines.exports.export import Exported
from pipelines.models.model import Model
from pipelines.names import ANSWERS, PUBLISHED, action_asset
from pipelines.warehouse.audit import AuditError, inspect
from pipelines.warehouse.catalog import describe_columns
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.lag import measure_lag
from pipelines.warehouse.update import TableUpdate

_REPEAT_EVERY_S = 3600.0


@dataclass
class Reports:
    """The work on one data folder that is not reported to Dagster yet."""

    folder: DataFolder
    instance: dg.DagsterInstance
    _updates: dict[str, tuple[Model, TableUpdate]] = field(default_factory=dict)
    _fetched: Fetched | None = None
    _reported: dict[dg.AssetCheckKey, tuple[dg.AssetCheckEvaluation, float]] = field(default_factory=dict)

    def add_update(self, model: Model, update: TableUpdate) -> None:
        """Note an update of a table, unless it changed nothing and skipped no file."""
        if not (update.unreadable or update.passed_over or update.has_changed):
            return
        if model.name in self._updates:
            update = self._updates[model.name][1] + update
        self._updates[model.name] = (model, update)

    def add_fetched(self, fetched: Fetched | None) -> None:
        """Note the result of a fetch, if there was one."""
        if fetched is not None:
            self._fetched = self._fetched + fetched if self._fetched else fetched

    def report_audit(self, error: AuditError) -> None:
        """Report at once that a table failed a check."""
        self._report_if_new(_evaluation(error.model.name, finding_result(error.finding)))

    def report_fetched(self) -> None:
        """Report the results of the fetches."""
        if self._fetched is not None:
            self._report(dg.AssetMaterialization(ANSWERS, metadata=fetched_metadata(self._fetched)))
            self._fetched = None

    def report_exported(self, name: str, address: Address, done: deque[Exported]) -> None:
        """Report the exports to one target, and take them out of `done`."""
        exports = [done.popleft() for _ in range(len(done))]
        if exports:
            metadata = exported_metadata(exports, address, datetime.now(UTC))
            self._report(dg.AssetMaterialization(name, metadata=metadata))

    def report_acted(self, rule: str, acted: Acted) -> None:
        """Report what was done for a rule."""
        metadata = acted_metadata(rule, acted)
        self._report(dg.AssetMaterialization(action_asset(rule), metadata=metadata))

    def report_tables(self) -> None:
        """Report what was done to tables, from the published file.

        Raises:
            ModelError: A file of SQL can't be used.
        """
        if not self._updates:
            return
        sql = self.folder.sql
        status = self.folder.status()
        published_at = status["published_at"]
        assert isinstance(published_at, datetime)  # noqa: S101 - the query gives a time
        with self.folder.read() as tables:
            for model, update in self._updates.values():
                lag_s = measure_lag(tables, model, sql.models, published_at)
                metadata = update_metadata(model, update, lag_s, describe_columns(tables, model))
                self._report(dg.AssetMaterialization(model.name, metadata=metadata))
                findings = inspect(tables, model, sql.checks, published_at, self.folder.longest_call_s)
                for result in check_results(model, checks_of(model, sql.checks), update, findings):
                    self._report_if_new(_evaluation(model.name, result))
        self._report_if_new(_evaluation(PUBLISHED, journal_result(self.folder.damaged_segments())))
        published = published_metadata(self.folder.warehouse.published, status)
        self._report(dg.AssetMaterialization(PUBLISHED, metadata=published))
        self._updates.clear()

    def _report(self, event: dg.AssetMaterialization | dg.AssetCheckEvaluation) -> None:
        self.instance.report_runless_asset_event(event)

    def _report_if_new(self, evaluation: dg.AssetCheckEvaluation) -> None:
        """Report a check's result when it changes, and once an hour: most stay the same for years."""
        now_s = time.monotonic()
        before, reported_s = self._reported.get(evaluation.asset_check_key, (None, now_s))
        if before != evaluation or now_s - reported_s >= _REPEAT_EVERY_S:
            self._reported[evaluation.asset_check_key] = (evaluation, now_s)
            self._report(evaluation)


def describe_passed_over(files: Mapping[str, str]) -> list[str]:
    """Return a line for each landed file that was passed over, by its path and the reason."""
    return [f"Passed over {path}: {reason}" for path, reason in sorted(files.items())]


def _evaluation(asset: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert result.check_name is not None  # noqa: S101 - all our checks have names
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )
