"""Runs whose process was killed, and runs that must not be touched."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from pipelines.instance.abandoned import fail_abandoned_runs, tag_process

HOST = socket.gethostname()
EMPTY_JOB = dg.GraphDefinition("empty").to_job()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Open an instance for one test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_killed_run_is_on_the_timeline_too(instance: dg.DagsterInstance) -> None:
    """There a failed run is seen first."""
    run = instance.create_run_for_job(EMPTY_JOB, status=dg.DagsterRunStatus.STARTED, tags=tag_process())
    fail_abandoned_runs(instance)
    (run,) = instance.get_runs(dg.RunsFilter(run_ids=[run.run_id]))
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == "pipelines.definitions"


def status_after(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRunStatus:
    """Return the status of a started run with these tags, after abandoned runs were reported."""
    run = instance.create_run_for_job(EMPTY_JOB, status=dg.DagsterRunStatus.STARTED, tags=tags)
    fail_abandoned_runs(instance)
    (run,) = instance.get_runs(dg.RunsFilter(run_ids=[run.run_id]))
    return run.status


def tags_of(process_id: int, host: str = HOST) -> dict[str, str]:
    return dict.fromkeys(tag_process(), f"{process_id}@{host}")


NOT_OURS = {
    "alive": tags_of(os.getppid()),
    "another user's": tags_of(1),
    "on another host": tags_of(os.getppid(), "elsewhere"),
    "of the daemon": {},
    "garbage": dict.fromkeys(tag_process(), "?"),
}


def test_a_run_whose_process_is_gone_failed(instance: dg.DagsterInstance) -> None:
    """SIGKILL, for example, leaves such a run."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert status_after(instance, tags_of(process.pid)) is dg.DagsterRunStatus.FAILURE


def test_a_run_of_a_former_process_with_our_id_failed(instance: dg.DagsterInstance) -> None:
    """The main process of a container has the same id each time."""
    assert status_after(instance, tag_process()) is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("name", NOT_OURS)
def test_any_other_run_is_not_changed(instance: dg.DagsterInstance, name: str) -> None:
    """It may still be running."""
    assert status_after(instance, NOT_OURS[name]) is dg.DagsterRunStatus.STARTED
