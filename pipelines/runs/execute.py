"""Dagster's jobs run in this process, for the command line. Their runs show in the UI like any other.

Starting a job and reporting what it did belongs here. Printing that does not: see `pipelines.cli`.
"""

import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from connector.errors import OperatorError
from connector.landing.zones import LISTED
from pipelines.assets.published import was_published_since
from pipelines.assets.span_config import step_config
from pipelines.enrichment.span import Span
from pipelines.instance.abandoned import tag_process
from pipelines.instance.reasons import explain_failure
from pipelines.instance.timeline import add_to_timeline, tag_location
from pipelines.names import (
    ACT_JOB,
    ANSWERS,
    BACKFILL_JOB,
    EXPORT_JOB,
    FETCH_JOB,
    LOAD_JOB,
    SWEEP,
    VERIFY_JOB,
)
from pipelines.reconciliation.sweep import Swept

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(OperatorError):
    """A run that failed. The message names the step and the reason."""


class PartlyPublishedError(RunFailedError):
    """A run in which tables could not be updated, and all others were published."""


@dataclass(frozen=True)
class RunReport:
    """The result of a run: its id, its duration, and each asset's metadata by asset name."""

    run_id: str
    duration_s: float
    assets: dict[str, dict[str, Any]]

    @property
    def rows_added(self) -> int:
        """The rows added to all tables."""
        return sum(int(metadata.get("rows_added", 0)) for metadata in self.assets.values())


def run_load(definitions: dg.Definitions, instance: dg.DagsterInstance) -> RunReport:
    """Load what landed into every table, and publish.

    Raises:
        PartlyPublishedError: Tables could not be updated. All others are published.
        RunFailedError: A step failed. What was published before stays published.
    """
    return _run(definitions, LOAD_JOB, instance)


def run_fetch(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *, again: Span | None = None
) -> RunReport:
    """Ask Verbex for what is due, and for what is unavailable in `again`.

    Raises:
        RunFailedError: Verbex did not accept the key, or landing can't be written.
    """
    if again is None:
        return _run(definitions, FETCH_JOB, instance)
    return _run(definitions, FETCH_JOB, instance, step_config(ANSWERS, again, is_asking_again=True))


def run_export(definitions: dg.Definitions, instance: dg.DagsterInstance) -> RunReport:
    """Bring every target of the settings to what is published.

    Raises:
        RunFailedError: A target can't be written. All others were.
    """
    return _run(definitions, EXPORT_JOB, instance)


def run_actions(definitions: dg.Definitions, instance: dg.DagsterInstance) -> RunReport:
    """Send what the rules of the settings want now.

    Raises:
        RunFailedError: Another process does, or what happened can't be stored.
    """
    return _run(definitions, ACT_JOB, instance)


def run_verify(definitions: dg.Definitions, instance: dg.DagsterInstance, span: Span) -> Swept:
    """List the span's calls at Verbex, load the list and everything else that landed, and compare.

    Raises:
        RunFailedError: Verbex can't be asked, or a step failed.
    """
    return _run_sweep(definitions, VERIFY_JOB, instance, span)


def run_backfill(definitions: dg.Definitions, instance: dg.DagsterInstance, span: Span) -> Swept:
    """List the span's calls at Verbex, and load them into our tables with everything else that landed.

    Raises:
        RunFailedError: Verbex can't be asked, or a step failed.
    """
    return _run_sweep(definitions, BACKFILL_JOB, instance, span)


def _run_sweep(definitions: dg.Definitions, job_name: str, instance: dg.DagsterInstance, span: Span) -> Swept:
    config = step_config(SWEEP, span, is_backfill=job_name == BACKFILL_JOB)
    report = _run(definitions, job_name, instance, config)
    listed = report.assets[LISTED.relation]
    return Swept(**{count.name: listed[count.name] for count in fields(Swept)})


def _run(
    definitions: dg.Definitions,
    job_name: str,
    instance: dg.DagsterInstance,
    config: dict[str, Any] | None = None,
) -> RunReport:
    started_s, started_at = time.monotonic(), datetime.now(UTC)
    job = definitions.resolve_job_def(job_name)
    run_config = _QUIET | (config or {})
    result = job.execute_in_process(
        instance=instance, run_config=run_config, tags=tag_process() | tag_location(), raise_on_error=False
    )
    add_to_timeline(instance, result.run_id)
    if _is_interrupted(result):
        raise KeyboardInterrupt  # Dagster reports it as a failure of the step that was running
    if not result.success:
        reasons = "\n".join(explain_failure(result.all_events))
        if job_name not in (EXPORT_JOB, ACT_JOB) and was_published_since(instance, started_at):
            raise PartlyPublishedError(
                f"{reasons}\nThis and what reads it is as before. All else is published."
            )
        raise RunFailedError(reasons)
    assets = {
        event.asset_key.to_user_string(): {
            name: value.value
            for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }
    return RunReport(result.run_id, time.monotonic() - started_s, assets)


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(
        error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__
        for error in errors
    )
