"""Runs of commands on Dagster's home page and timeline, which show only runs of a known code location.

Which location that is belongs here. Starting a run does not: see `pipelines.runs.execute`.
"""

import logging

import dagster as dg
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

logger = logging.getLogger(__name__)

# As the UI names the location: by its module. And as Dagster names a repository that it makes of definitions.
_REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("pipelines.definitions"), "__repository__")


def tag_location() -> dict[str, str]:
    """Return the tag by which the UI finds the runs of a job."""
    return {REPOSITORY_LABEL_TAG: _REPOSITORY.get_label()}


def add_to_timeline(instance: dg.DagsterInstance, run_id: str) -> None:
    """Let the home page and the timeline show a run that has ended. A failure to do so is only logged."""
    try:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.run_storage.replace_job_origin(run, RemoteJobOrigin(_REPOSITORY, run.job_name))
    except Exception as error:  # noqa: BLE001 - a full disk, a locked database: the run has done its work
        logger.warning("Dagster's timeline will not show the run %s: %s", run_id, error)
