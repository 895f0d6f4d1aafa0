"""Why nothing of a rule may go out for now, and until when: quiet hours, a limit, or a missing setting.

Only this question belongs here. What follows from the answer does not: see `pipelines.actions.dispatcher`.
"""

from collections import deque
from datetime import datetime, timedelta

from connector.errors import OperatorError
from connector.settings import Settings
from connector.verbex.client import api_key_of
from pipelines.actions.action import Action
from pipelines.actions.destinations import destination_of, mail_server_of
from pipelines.models.rule import Rule

LONGEST_LIMIT = timedelta(days=1)
"""The longest period in which attempts are counted for `at most:`."""
PAUSE_AFTER_FAULT = timedelta(seconds=60)
"""The wait before it is looked again whether a person has fixed what is wrong."""


def reason_to_hold(
    rule: Rule, attempted: deque[datetime], now: datetime, problem: str | None
) -> tuple[str, datetime] | None:
    """Return why an action of a rule must wait at `now`, and until when, UTC, or None if it may go out.

    Args:
        rule: The rule.
        attempted: The times of its attempts, oldest first, UTC. Those that no longer count are removed.
        now: The time, UTC.
        problem: What `problem_of` returns.
    """
    if rule.quiet_hours is not None and rule.quiet_hours.is_quiet(now):
        return f"quiet hours: {rule.fields['quiet hours']}", rule.quiet_hours.next_open(now)
    if rule.at_most is not None:
        while attempted and attempted[0] <= now - rule.at_most.period:
            attempted.popleft()
        if len(attempted) >= rule.at_most.count:
            return f"at most {rule.fields['at most']}", attempted[0] + rule.at_most.period
    return None if problem is None else (problem, now + PAUSE_AFTER_FAULT)


def problem_of(settings: Settings, rule: Rule) -> str | None:
    """Return why nothing of a rule can go out as things are set, or None."""
    try:
        if rule.kind == "http":
            destination_of(settings, rule.name)
        elif rule.kind == "email":
            mail_server_of(settings)
        else:
            api_key_of(settings)
    except OperatorError as error:
        return str(error)
    return None


def kind_problem_of(rule: Rule, action: Action) -> str | None:
    """Return why an action can't go out by what its rule says today, or None.

    The quiet hours of a request are no quiet hours of a call.
    """
    if action.kind == rule.kind:
        return None
    return (
        f"it was decided as {action.kind}, and the rule says `action: {rule.kind}` now: cancel it with "
        f"`verbex-sync actions cancel {action.action_id}`, or change the rule back"
    )
