"""The checks that only warn, run on the published tables a few at a time.

Some of them read a whole history, so none runs more than once a minute, and no page waits for more than one.
What a check is does not belong here: see `pipelines.warehouse.audit`.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipelines.live.published import Reader
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import ModelError
from pipelines.warehouse.audit import Finding, unknown

_RUN_EVERY = timedelta(seconds=60)
# The page lists these calls themselves.
_SHOWN_BY_ITSELF = ("calls_stuck_in_progress", "ends_without_analysis")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class Checks:
    """What the checks found when each of them last ran."""

    reader: Reader
    _listed: list[tuple[Check, Model]] = field(default_factory=list)
    _listed_at: datetime | None = None
    _ran_at: dict[str, datetime] = field(default_factory=dict)
    _findings: dict[str, Finding] = field(default_factory=dict)

    def run_one(self, now: datetime) -> None:
        """Run the check that has waited longest, if that is long enough. One that can't run is a finding too.

        Raises:
            OperatorError: The files of SQL can't be used.
        """
        if self._listed_at is None or not timedelta() <= now - self._listed_at < _RUN_EVERY:
            self._listed, self._listed_at = self._list(), now  # it reads every file of SQL
        waiting = [each for each in self._listed if self._is_due(each[0].name, now)]
        if waiting:
            check, model = min(waiting, key=lambda each: self._ran_at.get(each[0].name, _NEVER))
            self._ran_at[check.name] = now
            self._findings.pop(check.name, None)
            try:
                finding = self.reader.check(model, check, now)
            except ModelError as error:
                finding = unknown(check, str(error))
            if finding.row_count or finding.problem:
                self._findings[check.name] = finding

    def findings(self) -> list[Finding]:
        """Return what is wrong, in the order of the checks' names."""
        return [self._findings[name] for name in sorted(self._findings)]

    def oldest(self) -> datetime | None:
        """Return when the check ran that ran first; None as long as some never ran."""
        names = [check.name for check, _ in self._listed]
        if not names or any(name not in self._ran_at for name in names):
            return None
        return min(self._ran_at[name] for name in names)

    def _list(self) -> list[tuple[Check, Model]]:
        sql = self.reader.folder.sql
        models = {model.table: model for model in sql.models}
        return [
            (check, models[check.model])
            for check in sql.checks
            if not check.is_blocking and check.model in models and check.name not in _SHOWN_BY_ITSELF
        ]

    def _is_due(self, name: str, now: datetime) -> bool:
        # a clock that was set back makes it due too
        return name not in self._ran_at or not timedelta() <= now - self._ran_at[name] < _RUN_EVERY
