"""The retention of Dagster's own records: old runs and reports are removed, an asset's newest are kept.

Runs and reports belong here. The ticks of sensors do not: Dagster removes them itself, after the times set in
`pipelines.instance.home`. It keeps everything else for ever: half a megabyte for the run of a load, and tens
of megabytes a day for follow mode's reports. Removed records leave room in the same files, which later
records use. Only a home that we made is changed: one that the user has set may hold the runs of other
projects. Nor is one changed that keeps its events elsewhere, as the homes of earlier versions do.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from pipelines.instance.home import EVENT_LOG, own_home

RUNS_KEPT = {
    (dg.DagsterRunStatus.SUCCESS,): 500,
    tuple(status for status in dg.DagsterRunStatus if status is not dg.DagsterRunStatus.SUCCESS): 100,
}
"""How many of the newest runs are kept: of those that succeeded, and of all others, also unfinished ones."""
REPORTS_KEPT = timedelta(days=7)
"""How long the materialisations and check results that follow mode reports are kept."""

# Limits the time of one call. The next call removes more.
_RUNS_AT_ONCE = 50
_REPORTS_AT_ONCE = 2_000

_OLD_REPORTS = """
select id from (
    select id, timestamp, asset_key, dagster_event_type
    from event_logs where run_id = '' order by id limit :at_once
) as oldest
where timestamp < :before and id is not (
    select max(id) from event_logs as newest
    where newest.asset_key = oldest.asset_key and newest.dagster_event_type = oldest.dagster_event_type
)
"""
_OLD_RESULTS = """
select id from (
    select id, asset_key, check_name, evaluation_event_timestamp
    from asset_check_executions order by id limit :at_once
) as oldest
where evaluation_event_timestamp < :before and id is not (
    select max(id) from asset_check_executions as newest
    where newest.asset_key = oldest.asset_key and newest.check_name = oldest.check_name
)
"""


def forget_old_records(instance: dg.DagsterInstance, data_dir: Path, now: datetime) -> int:
    """Remove some of the records that are too old, if we made the instance's home.

    Call it often: each call removes only a few.

    Returns:
        The number of runs and reports that were removed.
    """
    home = own_home(data_dir)
    is_ours = Path(instance.root_directory).resolve() == home.resolve()
    if not is_ours or not (home / EVENT_LOG).exists():  # earlier versions kept the events of each run apart
        return 0
    before = (now - REPORTS_KEPT).astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    with closing(sqlite3.connect(home / EVENT_LOG, timeout=60)) as events:
        return _forget_runs(instance, events) + _forget_reports(events, before)


def _forget_runs(instance: dg.DagsterInstance, events: sqlite3.Connection) -> int:
    # Dagster shows the last run of every asset, so it must stay complete.
    last = {record.asset_entry.last_run_id for record in instance.get_asset_records()}
    old = [run_id for run_id in _old_run_ids(instance) if run_id not in last]
    for run_id in old:
        # Dagster does not delete these with a run, and they are a quarter of its size.
        events.execute("delete from asset_check_executions where run_id = ?", [run_id])
        events.commit()
        instance.delete_run(run_id)
    return len(old)


def _old_run_ids(instance: dg.DagsterInstance) -> list[str]:
    old: list[str] = []
    for statuses, kept in RUNS_KEPT.items():
        filters = dg.RunsFilter(statuses=list(statuses))
        newest = instance.get_run_ids(filters, limit=kept)
        if len(newest) == kept:
            old += instance.get_run_ids(filters, cursor=newest[-1], limit=_RUNS_AT_ONCE)
    return old


def _forget_reports(events: sqlite3.Connection, before: str) -> int:
    asked = {"before": before, "at_once": _REPORTS_AT_ONCE}
    reports = [row_id for (row_id,) in events.execute(_OLD_REPORTS, asked)]
    results = [row_id for (row_id,) in events.execute(_OLD_RESULTS, asked)]
    _delete(events, "event_logs", "id", reports)
    _delete(events, "asset_event_tags", "event_id", reports)
    _delete(events, "asset_check_executions", "id", results)
    events.commit()
    return len(reports)


def _delete(events: sqlite3.Connection, table: str, column: str, ids: Sequence[int]) -> None:
    events.executemany(f"delete from {table} where {column} = ?", [(row_id,) for row_id in ids])
