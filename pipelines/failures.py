"""The sensor that tells people when a run fails, if the settings say whom.

Noticing failed runs, each once, belongs here. The message and its delivery do not: see
`pipelines.actions.alarm`. It is no `dg.run_failure_sensor`, which would forget a failure that it could not
deliver.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import msgspec

from connector.settings import Settings
from connector.system.loop import run
from connector.verbex.transport import utc_now
from pipelines.actions.action import Kind
from pipelines.actions.alarm import FailedRun, alarm_kinds, tell
from pipelines.instance.reasons import explain_failure
from pipelines.sensors import AT_EVERY_LOOK

_AT_ONCE = 20
_MOST_TRIES = 1_440  # a day
_PAUSE = timedelta(minutes=1)


class _Place(msgspec.Struct, frozen=True):
    """Up to which event people were told, and of the next one: by what, how often it was tried, and when."""

    event: int
    told_by: tuple[str, ...] = ()
    tries: int = 0
    tried_at: datetime = datetime.min.replace(tzinfo=UTC)


def failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """Build the sensor that tells people of each run that fails from its first look on."""
    kinds = alarm_kinds(settings)
    status = dg.DefaultSensorStatus.RUNNING if kinds else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name="pipeline_failures",
        minimum_interval_seconds=AT_EVERY_LOOK,
        default_status=status,
        description="Tells people when a run fails: see `VERBEX_ACTION_PIPELINE_FAILURES_URL` and `_TO`.",
    )
    def pipeline_failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not kinds:
            return dg.SkipReason("No setting says whom to tell.")
        place = _read(context.cursor)
        if place is None:
            newest = context.instance.fetch_run_status_changes(
                dg.DagsterEventType.RUN_FAILURE, limit=1
            ).records
            place = _Place(newest[0].storage_id if newest else 0)
            context.update_cursor(_text(place))
            return dg.SkipReason("From now on people are told of each run that fails.")
        if timedelta() <= datetime.now(UTC) - place.tried_at < _PAUSE:  # else the clock was wrong
            return dg.SkipReason("People could not be told of a failed run less than a minute ago.")
        told = 0
        for record in _failed_since(context.instance, place.event):
            place = _tell_all(context, settings, kinds, place, _failed_run(context.instance, record))
            is_done = set(place.told_by) >= set(kinds) or place.tries >= _MOST_TRIES
            place = _Place(record.storage_id) if is_done else place
            context.update_cursor(_text(place))
            if not is_done:
                return dg.SkipReason("People could not be told of a failed run. It is tried again.")
            told += 1
        return dg.SkipReason(f"People were told of {told} failed runs." if told else "No run failed.")

    return pipeline_failures


def _failed_since(instance: dg.DagsterInstance, event: int) -> Sequence[dg.EventLogRecord]:
    wanted = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=event)
    return instance.fetch_run_status_changes(wanted, limit=_AT_ONCE, ascending=True).records


def _failed_run(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> FailedRun:
    run_id = record.run_id
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    reasons = explain_failure(entry.dagster_event for entry in logs if entry.dagster_event is not None)
    found = instance.get_run_by_id(run_id)
    failed_at = datetime.fromtimestamp(record.timestamp, UTC)
    return FailedRun(found.job_name if found is not None else "run", run_id, reasons[0], failed_at)


def _tell_all(
    context: dg.SensorEvaluationContext,
    settings: Settings,
    kinds: Sequence[Kind],
    place: _Place,
    failed: FailedRun,
) -> _Place:
    """Tell people in each way in which they were not told yet. What is refused for good is only logged."""
    told_by = list(place.told_by)
    for kind in kinds:
        if kind in told_by:
            continue
        answer = run(tell(settings, kind, failed, utc_now))
        if answer.error:
            context.log.warning("Run %s by %s: %s", failed.run_id, kind, answer.error)
        if answer.result != "tried":
            told_by.append(kind)
    return _Place(place.event, tuple(told_by), place.tries + 1, datetime.now(UTC))


def _read(cursor: str | None) -> _Place | None:
    try:
        return msgspec.json.decode(cursor or "", type=_Place)
    except msgspec.DecodeError:
        return None


def _text(place: _Place) -> str:
    return msgspec.json.encode(place).decode()
