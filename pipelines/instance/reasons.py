"""Why a run failed, in the words of the step that failed.

Only reading a run's events belongs here. Printing the reasons, or telling people, does not.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from connector.system.counts import counted


def explain_failure(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """Return the reasons why steps of a run failed, a line for each with the steps that it stopped."""
    steps: dict[str, list[str]] = {}
    for event in events:
        if event.is_step_failure:
            steps.setdefault(_reason(event.step_failure_data), []).append(str(event.step_key))
    reasons = [f"{first}{_and_more(others)}: {reason}" for reason, (first, *others) in steps.items()]
    return reasons or ["The run failed before its first step. See its log in the Dagster UI."]


def _and_more(others: list[str]) -> str:
    return f" and {counted(len(others), 'more step')}" if others else ""


def _reason(failure: Any) -> str:  # noqa: ANN401 - Dagster has no public name for its type
    """Return our own message if we raised the failure, or else the first line of the error that began it."""
    own = failure.user_failure_data
    if own and own.description:
        return str(own.description).strip()
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    text = str(error.message if error is not None else failure.error_display_string).strip()
    return f"{text.splitlines()[0]} (`verbex-sync ui` shows where.)"
