"""Sensors: what makes runs start by themselves while `dagster dev` or the daemon is up.

Deciding whether there is something to do belongs here; it must be cheap, for it is asked every few
seconds. Doing it is the jobs'.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import dagster as dg

from connector.landing.files import LandedFile
from pipelines.assets.tables import PUBLISHED
from pipelines.enrichment.due import count_due
from pipelines.enrichment.fetch import held_until, is_fetching, told_to_wait
from pipelines.instance.retention import forget_old_records
from pipelines.models.model import Model
from pipelines.resources import WarehouseResource
from pipelines.warehouse.files import NothingPublishedError
from pipelines.warehouse.intake import look_for_files
from pipelines.warehouse.sources import source_of, zone_of

# A fetch that failed, say on a wrong key, is not repeated at every tick.
_PAUSE_AFTER_FAILURE = timedelta(minutes=1)

_START_TIMEOUT = timedelta(minutes=1)
_FORGET_EVERY_S = 60

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def landing_sensor(job_name: str, models: Sequence[Model]) -> dg.SensorDefinition:
    """Starts the job when there are landed files that the published warehouse has not taken in.

    The run is of those tables only that the files can reach: most of a run's time is Dagster's own, a
    share for each asset.
    """

    @dg.sensor(
        name="new_landed_files",
        job_name=job_name,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Loads what landed since the last publish.",
    )
    def new_landed_files(
        context: dg.SensorEvaluationContext, warehouse: WarehouseResource
    ) -> dg.RunRequest | dg.SkipReason:
        fresh = list_fresh(warehouse, models)
        if not fresh:
            return dg.SkipReason("Nothing landed that is not published.")
        if warehouse.is_being_written() or _is_starting(context.instance, job_name):
            return dg.SkipReason("A load is running; what landed since comes with the next one.")
        fingerprint = sha256(repr(fresh).encode()).hexdigest()
        if fingerprint == context.cursor:
            return dg.SkipReason(f"The last load left {len(fresh)} landed files out; its run says why.")
        context.update_cursor(fingerprint)
        assets = [dg.AssetKey(name) for name in (*_reached_by(fresh, models), PUBLISHED)]
        return dg.RunRequest(tags={"landed_files": str(len(fresh))}, asset_selection=assets)

    return new_landed_files


def due_sensor(job_name: str, *, has_api_key: bool) -> dg.SensorDefinition:
    """Starts the job when there is something to ask Verbex for."""

    @dg.sensor(
        name="due_answers",
        job_name=job_name,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks Verbex for what is due.",
    )
    def due_answers(
        context: dg.SensorEvaluationContext, warehouse: WarehouseResource
    ) -> dg.RunRequest | dg.SkipReason:
        if not has_api_key:
            return dg.SkipReason("VERBEX_API_KEY is not set, so Verbex can't be asked.")
        now = datetime.now(UTC)
        if (until := held_until(warehouse, now)) is not None:
            return dg.SkipReason(told_to_wait(until))
        due = count_due(warehouse, now)
        if not due:
            return dg.SkipReason("Nothing is due.")
        if is_fetching(warehouse) or _is_starting(context.instance, job_name):
            return dg.SkipReason("A fetch is running; what became due since comes with the next one.")
        if _failed_since(context.instance, job_name, now - _PAUSE_AFTER_FAILURE):
            return dg.SkipReason("The last fetch failed less than a minute ago; its run says why.")
        return dg.RunRequest(tags={"due": str(due)})

    return due_answers


def retention_sensor() -> dg.SensorDefinition:
    """Keeps Dagster's own records within bounds; it starts no run, which would be one more record."""

    @dg.sensor(
        name="old_records",
        minimum_interval_seconds=_FORGET_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes old runs and reports from Dagster's storage.",
    )
    def old_records(context: dg.SensorEvaluationContext, warehouse: WarehouseResource) -> dg.SkipReason:
        gone = forget_old_records(context.instance, Path(warehouse.data_dir), datetime.now(UTC))
        return dg.SkipReason(f"Removed {gone} old runs and reports.")

    return old_records


def list_fresh(warehouse: WarehouseResource, models: Sequence[Model]) -> list[LandedFile]:
    """The landed files that any table of the published warehouse has not taken in."""
    landing = warehouse.landing
    zones: dict[str, list[str]] = {}
    for model in models:
        if source := source_of(model):
            zones.setdefault(source.zone, []).append(model.table)
    try:
        with warehouse.read() as connection:
            intakes = [look_for_files(connection, landing, zone, tables) for zone, tables in zones.items()]
    except NothingPublishedError:
        return [file for zone in zones for file in landing.list_files(zone)]
    return [file for intake in intakes for file in intake.files]


def _reached_by(files: Iterable[LandedFile], models: Sequence[Model]) -> list[str]:
    """The assets of the tables that load the files' zones, or read what is loaded from them."""
    zones = {zone_of(file) for file in files}
    reached: set[str] = set()
    for model in models:
        source = source_of(model)
        if model.upstream & reached or (source is not None and source.zone in zones):
            reached.add(model.table)
    return [model.name for model in models if model.table in reached]


def _is_starting(instance: dg.DagsterInstance, job_name: str) -> bool:
    """Whether a run was asked for that may not hold its lock yet.

    The lock says what is running: a run whose process was killed is unfinished for ever.
    """
    since = datetime.now(UTC) - _START_TIMEOUT
    starting = dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED, created_after=since)
    return bool(instance.get_runs(starting, limit=1))


def _failed_since(instance: dg.DagsterInstance, job_name: str, since: datetime) -> bool:
    failed = dg.RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    return bool(instance.get_runs(failed, limit=1))
