"""Sensors: what makes runs start by themselves while `dagster dev` or the daemon is up.

Deciding whether there is something to do belongs here; it must be cheap, for it is asked every few
seconds. Doing it is the jobs'.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import dagster as dg

from connector.landing import LandedFile
from pipelines.due import count_due
from pipelines.resources import WarehouseResource
from pipelines.sources import list_landed
from pipelines.warehouse import NothingPublishedError

# A fetch that failed, say on a wrong key, is not repeated at every tick.
_PAUSE_AFTER_FAILURE = timedelta(minutes=1)

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def landing_sensor(job_name: str) -> dg.SensorDefinition:
    """Starts the job when there are landed files that the published warehouse has not taken in."""

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
        fresh = list_fresh(warehouse)
        if not fresh:
            return dg.SkipReason("Nothing landed that is not published.")
        if _is_running(context.instance, job_name):
            return dg.SkipReason("A load is running; what landed since comes with the next one.")
        fingerprint = sha256(repr(fresh).encode()).hexdigest()
        if fingerprint == context.cursor:
            return dg.SkipReason(f"The last load left {len(fresh)} landed files out; its run says why.")
        context.update_cursor(fingerprint)
        return dg.RunRequest(tags={"landed_files": str(len(fresh))})

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
        due = count_due(warehouse, now)
        if not due:
            return dg.SkipReason("Nothing is due.")
        if _is_running(context.instance, job_name):
            return dg.SkipReason("A fetch is running; what became due since comes with the next one.")
        if _failed_since(context.instance, job_name, now - _PAUSE_AFTER_FAILURE):
            return dg.SkipReason("The last fetch failed less than a minute ago; its run says why.")
        return dg.RunRequest(tags={"due": str(due)})

    return due_answers


def list_fresh(warehouse: WarehouseResource) -> list[LandedFile]:
    """The landed files that the published warehouse has not taken in."""
    landed = list_landed(warehouse.landing)
    try:
        with warehouse.read() as connection:
            rows = connection.execute("select path from ops.loads").fetchall()
    except NothingPublishedError:
        rows = []
    taken = {path for (path,) in rows}
    return [file for file in landed if file.path not in taken]


def _is_running(instance: dg.DagsterInstance, job_name: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED), limit=1))


def _failed_since(instance: dg.DagsterInstance, job_name: str, since: datetime) -> bool:
    failed = dg.RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    return bool(instance.get_runs(failed, limit=1))
