"""Runs whose process was killed, told to Dagster as failed: it would show them as started for ever.

Marking a run with its process, and finding those whose process is gone, belong here. Runs that Dagster's own
daemon launched are the daemon's to watch.
"""

import os
import socket

import dagster as dg

_TAG = "verbex/process"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""The statuses of a run that goes on, or whose process is gone."""


def tag_process() -> dict[str, str]:
    """The tags of a run that this process makes."""
    return {_TAG: f"{os.getpid()}@{socket.gethostname()}"}


def fail_abandoned_runs(instance: dg.DagsterInstance) -> int:
    """Tell Dagster of the runs whose process is gone; call it before this process makes a run.

    Returns:
        How many there were.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    gone = [run for run in runs if _is_gone(run.tags.get(_TAG, ""))]
    for run in gone:
        message = "Its process ended without a word, as after a kill; the next run does its work."
        instance.report_run_failed(run, message)
    return len(gone)


def _is_gone(process: str) -> bool:
    process_id, _, host = process.partition("@")
    if not process_id.isdigit() or host != socket.gethostname():
        return False
    # A container often gives its next process the same number: ours, which has made no run yet.
    return int(process_id) == os.getpid() or not _is_alive(int(process_id))


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
