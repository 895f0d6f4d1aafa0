"""The sensors, which start runs by themselves while `dagster dev` or the daemon is running.

Deciding whether there is something to do belongs here. It must be cheap, because it happens every few
seconds. Doing it does not belong here: see `pipelines.jobs`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import dagster as dg

from connector.landing.compaction import is_crowded
from connector.landing.files import LandedFile
from connector.landing.zones import zone_of
from connector.settings import Settings
from connector.system.lock import is_held
from pipelines.actions.due import has_work
from pipelines.actions.paths import lock_of
from pipelines.actions.pause import is_paused
from pipelines.assets.acted import report_checks
from pipelines.enrichment.due import count_due
from pipelines.enrichment.fetch import is_fetching
from pipelines.enrichment.hold import explain_hold, held_until
from pipelines.instance.abandoned import UNFINISHED
from pipelines.instance.retention import forget_old_records
from pipelines.models.model import Model
from pipelines.names import ACT_JOB, COMPACT_JOB, FETCH_JOB, LOAD_JOB, PUBLISHED
from pipelines.resources import WarehouseResource
from pipelines.warehouse.intake import MissingFilesError, list_new_files
from pipelines.warehouse.sources import source_of

# A fetch that failed, for example because of a wrong key, is not repeated at every tick.
_PAUSE_AFTER_FAILURE = timedelta(minutes=1)

# Dagster looks every few seconds, and evaluates a sensor if this many have passed since the last time, which
# it noted. Less than none always have: after a minute with a clock that was two days ahead, any other number
# would stop the sensor for two days, also after a restart.
AT_EVERY_LOOK = -1_000_000_000

_START_TIMEOUT = timedelta(minutes=1)
_FIRST_RETRY = timedelta(seconds=30)
_LONGEST_RETRY = timedelta(minutes=10)
_SELDOM = timedelta(minutes=1)
"""The pause of a sensor that need not look every few seconds."""


class _Tried(NamedTuple):
    """The files that the last load was started for, the number of tries, and the time of the next one."""

    fingerprint: str = ""
    tries: int = 0
    retry_at: datetime = datetime.min.replace(tzinfo=UTC)

    @classmethod
    def parse(cls, cursor: str | None) -> "_Tried":
        """Read a cursor. A cursor of an earlier version, or none, means that nothing was tried."""
        try:
            fingerprint, tries, retry_at = (cursor or "").split()
            return cls(fingerprint, int(tries), datetime.fromisoformat(retry_at))
        except ValueError:
            return cls()

    def next(self, fingerprint: str, now: datetime) -> "_Tried":
        """Return what is tried after one more try."""
        tries = self.tries + 1 if fingerprint == self.fingerprint else 1
        return _Tried(fingerprint, tries, now + min(_FIRST_RETRY * 2 ** min(tries - 1, 16), _LONGEST_RETRY))

    def text(self) -> str:
        """Return the cursor."""
        return f"{self.fingerprint} {self.tries} {self.retry_at.isoformat()}"


def landing_sensor(models: Sequence[Model]) -> dg.SensorDefinition:
    """Build the sensor that starts a load when there are landed files that are not published.

    The run only has the tables that the files can reach: most of a run's time is Dagster's own work, and it
    grows with each asset.
    """

    @dg.sensor(
        name="new_landed_files",
        job_name=LOAD_JOB,
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Loads what landed since the last publish.",
    )
    def new_landed_files(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            new = list_new_files(warehouse.folder, models)
        except MissingFilesError as error:
            return dg.SkipReason(str(error))
        if not new:
            return dg.SkipReason("Everything that landed is published.")
        if warehouse.folder.warehouse.is_being_written() or _is_starting(context.instance, LOAD_JOB):
            return dg.SkipReason("A load is running. The next one loads what landed since.")
        now = datetime.now(UTC)
        tried = _Tried.parse(context.cursor)
        fingerprint = sha256(repr(new).encode()).hexdigest()
        # Not a time beyond the longest wait: it was noted while the clock was wrong.
        if fingerprint == tried.fingerprint and now < tried.retry_at <= now + _LONGEST_RETRY:
            return dg.SkipReason(
                f"The last load left out {len(new)} landed files. Its run shows the reason. "
                f"The next try is after {tried.retry_at:%H:%M:%S} UTC."
            )
        context.update_cursor(tried.next(fingerprint, now).text())
        assets = [dg.AssetKey(name) for name in (*_reached_by(new, models), PUBLISHED)]
        return dg.RunRequest(tags={"landed_files": str(len(new))}, asset_selection=assets)

    return new_landed_files


def due_sensor(*, has_api_key: bool) -> dg.SensorDefinition:
    """Build the sensor that starts a fetch when there is something to ask Verbex for."""

    @dg.sensor(
        name="due_answers",
        job_name=FETCH_JOB,
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks Verbex for what is due.",
    )
    def due_answers(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> dg.RunRequest | dg.SkipReason:
        if not has_api_key:
            return dg.SkipReason("VERBEX_API_KEY is not set, so Verbex can't be asked.")
        now = datetime.now(UTC)
        if (until := held_until(warehouse.folder, now)) is not None:
            return dg.SkipReason(explain_hold(until))
        due = count_due(warehouse.folder, now)
        if not due:
            return dg.SkipReason("Nothing is due.")
        if is_fetching(warehouse.folder) or _is_starting(context.instance, FETCH_JOB):
            return dg.SkipReason("A fetch is running. The next one asks for what became due since.")
        if _has_just_failed(context.instance, FETCH_JOB, now):
            return dg.SkipReason("The last fetch failed less than a minute ago. Its run shows the reason.")
        return dg.RunRequest(tags={"due": str(due)})

    return due_answers


def action_sensor(settings: Settings) -> dg.SensorDefinition:
    """Build the sensor that starts a run when a rule wants something, or something is to be tried again."""

    @dg.sensor(
        name="wanted_actions",
        job_name=ACT_JOB,
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends what the rules want.",
    )
    def wanted_actions(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> dg.RunRequest | dg.SkipReason:
        folder = warehouse.folder
        now = datetime.now(UTC)
        if not _is_since(context.cursor, now, _SELDOM):
            report_checks(context.instance, folder, settings.actions)
            context.update_cursor(now.isoformat())
        if is_paused(folder.path):
            return dg.SkipReason("Actions are paused. `verbex-sync actions resume` lets them go out again.")
        if is_held(lock_of(folder)) or _is_starting(context.instance, ACT_JOB):
            return dg.SkipReason("Another process or run sends what the rules want.")
        if _has_just_failed(context.instance, ACT_JOB, now):
            return dg.SkipReason("The last run failed less than a minute ago. It shows the reason.")
        if not has_work(settings, folder, now):
            return dg.SkipReason("No rule wants anything now.")
        return dg.RunRequest()

    return wanted_actions


def crowded_sensor() -> dg.SensorDefinition:
    """Build the sensor that starts a compaction when a day holds many small files."""

    @dg.sensor(
        name="crowded_landing",
        job_name=COMPACT_JOB,
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Merges the small files of a day that holds many, also while it runs.",
    )
    def crowded_landing(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> dg.RunRequest | dg.SkipReason:
        now = datetime.now(UTC)
        if _is_since(context.cursor, now, _SELDOM):
            return dg.SkipReason("Landing was looked at less than a minute ago.")
        context.update_cursor(now.isoformat())
        if not is_crowded(warehouse.folder.landing):
            return dg.SkipReason("No day holds many small files.")
        if _is_starting(context.instance, COMPACT_JOB):
            return dg.SkipReason("A compaction is running.")
        return dg.RunRequest()

    return crowded_landing


def retention_sensor() -> dg.SensorDefinition:
    """Build the sensor that removes old records of Dagster. It starts no run, which would add a record."""

    @dg.sensor(
        name="old_records",
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes old runs and reports from Dagster's storage.",
    )
    def old_records(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> dg.SkipReason:
        now = datetime.now(UTC)
        if _is_since(context.cursor, now, _SELDOM):
            return dg.SkipReason("Old runs and reports were removed less than a minute ago.")
        context.update_cursor(now.isoformat())
        gone = forget_old_records(context.instance, warehouse.folder.path, now)
        return dg.SkipReason(f"Removed {gone} old runs and reports.")

    return old_records


def _reached_by(files: Iterable[LandedFile], models: Sequence[Model]) -> list[str]:
    """Return the assets of the tables that load from the files' zones, or that read such tables."""
    zones = {zone_of(file.path) for file in files}
    reached: set[str] = set()
    for model in models:
        source = source_of(model)
        if model.upstream & reached or (source is not None and source.zone in zones):
            reached.add(model.table)
    return [model.name for model in models if model.table in reached]


def _is_since(noted: str | None, now: datetime, time: timedelta) -> bool:
    """Return whether a noted time is not older than `time`. One in the future is of a wrong clock."""
    try:
        return timedelta() <= now - datetime.fromisoformat(noted or "") < time
    except (ValueError, TypeError):
        return False


def _is_starting(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Return whether a run was requested a moment ago and may not hold its lock yet.

    After that only the lock shows what is running: a run whose process was killed stays unfinished for ever.
    """
    now = datetime.now(UTC)
    starting = dg.RunsFilter(
        job_name=job_name,
        statuses=UNFINISHED,
        created_after=now - _START_TIMEOUT,
        created_before=now + _START_TIMEOUT,
    )
    return bool(instance.get_runs(starting, limit=1))


def _has_just_failed(instance: dg.DagsterInstance, job_name: str, now: datetime) -> bool:
    failed = dg.RunsFilter(
        job_name=job_name,
        statuses=[dg.DagsterRunStatus.FAILURE],
        updated_after=now - _PAUSE_AFTER_FAILURE,
        updated_before=now + _PAUSE_AFTER_FAILURE,
    )
    return bool(instance.get_runs(failed, limit=1))
