"""Abandoned runs: their process was killed, so they are reported to Dagster as failed.

Without this, Dagster would show them as started for ever. Marking a run with its process, and finding runs
whose process is gone, belong here. Runs that Dagster's own daemon started do not: the daemon watches them.
"""

import os
import socket

import dagster as dg

from pipelines.instance.timeline import add_to_timeline

_TAG = "verbex/process"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""The statuses of a run that is still running, or whose process is gone."""


def tag_process() -> dict[str, str]:
    """Return the tags of a run that this process starts."""
    return {_TAG: f"{os.getpid()}@{socket.gethostname()}"}


def fail_abandoned_runs(instance: dg.DagsterInstance) -> int:
    """Report runs whose process is gone to Dagster as failed. Call it before this process starts a run.

    Returns:
        The number of these runs.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    gone = [run for run in runs if _is_gone(run.tags.get(_TAG, ""))]
    for run in gone:
        message = "The process was killed or crashed. Nothing is lost: the next run does its work."
        instance.report_run_failed(run, message)
        add_to_timeline(instance, run.run_id)
    return len(gone)


def _is_gone(process: str) -> bool:
    process_id, _, host = process.partition("@")
    if not process_id.isdigit() or host != socket.gethostname():
        return False
    # A container often gives its next process the same id. Then it is ours, and it has started no run yet.
    return int(process_id) == os.getpid() or not _is_alive(int(process_id))


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
