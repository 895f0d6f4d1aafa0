"""What people do about actions: try one again, cancel it, settle it, or fire a rule for days that are over.

Which actions each of these is for, and its steps, belong here. The questions to people do not: see
`pipelines.cli`. What a running process does with the steps does not either: see
`pipelines.actions.dispatcher`.
"""

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import duckdb

from connector.landing.zones import ACTIONS, Step
from pipelines.actions.decide import Known, Wanted, list_wanted
from pipelines.actions.published import STEPS, Row, is_current, list_actions_of, read_actions
from pipelines.actions.rules import RuleWordError, refuse_off, refuse_unknown, rule_of
from pipelines.actions.steps import StepRow, intended, land_steps, new_actor_id, step_of
from pipelines.models.rule_files import list_rules
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.intake import find_new_files

CANCELLED_BY = "cancelled by a person"
AGAIN_OF_RULE = ("failed",)
"""What is tried again if only a rule is named."""
AGAIN_BY_ID = ("failed", "expired", "cancelled")
"""What is tried again if it is named by its id."""
OPEN = ("due", "held")

_ID = re.compile(r"act_[0-9a-f]{32}")


@dataclass(frozen=True)
class Fired:
    """What firing a rule would do: the rows to act on, and how many are too late by its `not after:`."""

    wanted: Sequence[Wanted]
    too_late: int


def find_for_retry(folder: DataFolder, words: Sequence[str], now: datetime) -> tuple[list[Row], int]:
    """Return the actions to try again, and how many are left out because they are too late.

    Args:
        folder: The data folder.
        words: Rules, of which what failed counts unless it is too late, and ids, which count in any case.
        now: The time, UTC.

    Raises:
        RuleWordError: There is no such rule or action, it is off, or it is in another state.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    found = []
    too_late = 0
    for row, is_by_id in _find(folder, words):
        expires_at = row.waiting.action.expires_at
        if is_by_id:
            _refuse_state(row, AGAIN_BY_ID, "tried again")
        elif row.state not in AGAIN_OF_RULE:
            continue
        refuse_off(folder, row.waiting.action.rule)
        if not is_by_id and expires_at is not None and expires_at < now:
            too_late += 1
        else:
            found.append(row)
    return found, too_late


def find_for_cancel(folder: DataFolder, words: Sequence[str]) -> list[Row]:
    """Return the actions to cancel: those that are due or held, and of which no attempt is under way.

    Raises:
        RuleWordError: There is no such rule or action, or it is in another state.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    found = []
    for row, is_by_id in _find(folder, words):
        if is_by_id:
            _refuse_state(row, OPEN, "cancelled")
            if row.waiting.is_begun:
                raise RuleWordError(
                    f"{row.waiting.action.action_id}: its call may have been made already. What became of it "
                    "is asked before anything else: look again in a minute."
                )
        if row.is_unsettled and not row.waiting.is_begun:
            found.append(row)
    return found


def find_for_settling(folder: DataFolder, action_id: str) -> Row:
    """Return the action to settle: only one that is unknown can be.

    Raises:
        RuleWordError: There is no such action, or it is in another state.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    if not _ID.fullmatch(action_id):
        raise RuleWordError(f"{action_id} is no id of an action. `verbex-sync actions log` shows them.")
    ((row, _),) = _find(folder, [action_id])
    _refuse_state(row, ("unknown",), "settled")
    return row


def find_for_firing(
    folder: DataFolder, name: str, begins_at: datetime, ends_at: datetime, now: datetime
) -> Fired:
    """Return what a rule wants of a span of time that no action is about yet. Times are UTC.

    Raises:
        RuleWordError: There is no such rule, it is off, or its table is not built.
        RuleError: Its table lacks a column.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    refuse_unknown(folder, name)
    refuse_off(folder, name)
    rule = rule_of(folder, name)
    with read_actions(folder) as connection:
        if not is_current(connection, [rule]):
            raise RuleWordError(
                f"The table of the rule {name} is not built from its file as it is now. Run "
                "`verbex-sync sync`, which says why if it can't be."
            )
        known = _not_loaded(connection, folder)
        wanted = list_wanted(
            connection, rule, begins_at=begins_at, ends_at=ends_at, known=known, is_backfill_counted=True
        )
    in_time = [each for each in wanted if each.not_after is None or each.not_after >= now]
    return Fired(in_time, len(wanted) - len(in_time))


def land_retries(folder: DataFolder, rows: Sequence[Row], now: datetime) -> None:
    """Make actions due again from `now` on, UTC. What was too late already is sent however late it is.

    Raises:
        OSError: Landing can't store it. Nothing was changed.
    """
    steps = []
    for row in rows:
        expires_at = row.waiting.action.expires_at
        is_late = expires_at is not None and expires_at < now
        steps.append(_step(row, "retried", now, due_at=now, expires_at=None if is_late else expires_at))
    _land(folder, steps, now)


def land_cancels(folder: DataFolder, rows: Sequence[Row], now: datetime) -> None:
    """Cancel actions.

    Raises:
        OSError: Landing can't store it. Nothing was changed.
    """
    _land(folder, [_step(row, "cancelled", now, error=CANCELLED_BY) for row in rows], now)


def land_settled(folder: DataFolder, row: Row, outcome: Literal["sent", "failed"], now: datetime) -> None:
    """Say what became of an action of which that was unknown.

    Raises:
        OSError: Landing can't store it. Nothing was changed.
    """
    error = None if outcome == "sent" else "settled by a person: it was not done"
    _land(folder, [_step(row, "settled", now, cause=outcome, error=error)], now)


def land_fired(folder: DataFolder, fired: Fired, now: datetime) -> None:
    """Make actions of what a rule is fired for.

    Raises:
        OSError: Landing can't store it. Nothing was changed.
    """
    _land(folder, [intended(each.as_action(now)) for each in fired.wanted], now)


def _find(folder: DataFolder, words: Sequence[str]) -> list[tuple[Row, bool]]:
    """Return the actions that words name, each once, and whether it is named by its id."""
    ids = {word for word in words if _ID.fullmatch(word)}
    rules = {word for word in words if word not in ids}
    with read_actions(folder) as connection:
        rows = list_actions_of(connection, rules, ids)
    found = {row.waiting.action.action_id for row in rows}
    known = {*list_rules(folder.sql_dir, folder.own_sql_dir), *(row.waiting.action.rule for row in rows)}
    for word in words:
        if word in ids and word not in found:
            raise RuleWordError(
                f"There is no action {word} in the published tables. `verbex-sync actions log` shows them."
            )
        if word in rules and word not in known:
            refuse_unknown(folder, word)
    return [(row, row.waiting.action.action_id in ids) for row in rows]


def _refuse_state(row: Row, states: Collection[str], verb: str) -> None:
    if row.state in states:
        return
    action_id = row.waiting.action.action_id
    if row.state == "unknown":
        raise RuleWordError(
            f"{action_id} is unknown: it may have been done. Find out, and settle it first: "
            f"`verbex-sync actions settle {action_id} --as sent` or `--as failed`."
        )
    one_of = " or ".join(states)
    raise RuleWordError(f"{action_id} is {row.state}. Only what is {one_of} can be {verb}.")


def _not_loaded(connection: duckdb.DuckDBPyConnection, folder: DataFolder) -> Known:
    """Return the newest actions in landing that the tables do not have yet."""
    known: dict[tuple[str, str], tuple[int, str | None]] = {}
    for file in find_new_files(connection, folder.landing, ACTIONS, [STEPS]).files:
        for step in folder.landing.read(file, ACTIONS.schema).to_pylist():
            name = (step["rule"], step["identity"])
            if step["step"] == "intended" and step["revision"] >= known.get(name, (0, None))[0]:
                known[name] = (step["revision"], step["cause"])
    return known


def _step(row: Row, step: Step, now: datetime, **more: object) -> StepRow:
    return step_of(row.waiting.action, step, row.waiting.steps + 1, now, **more)


def _land(folder: DataFolder, steps: Sequence[StepRow], now: datetime) -> None:
    land_steps(folder.landing, new_actor_id(now, random.SystemRandom()), enumerate(steps))
