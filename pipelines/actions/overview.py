"""All rules with what became of what they wanted, and single actions with their steps, for people.

Reading this from the published tables belongs here. How it is printed does not: see `pipelines.cli`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from connector.settings import Settings
from pipelines.actions.decide import RuleError, list_newest
from pipelines.actions.holding import problem_of
from pipelines.actions.published import Naming, is_current, list_namings, read_actions
from pipelines.actions.rules import RuleWordError, load_rules, name_rules
from pipelines.models.rule import Rule
from pipelines.warehouse.data_folder import DataFolder, Rows

STATES = ("due", "held", "sent", "failed", "unknown", "expired", "cancelled")

_COUNTS = """
    select
        rule,
        any_value(kind) as kind,
        histogram(state) as states,
        max(sent_at) as newest_sent_at,
        median(delay_s) as median_delay_s
    from stored.actions
    group by rule
    order by rule
"""

_LOG = """
    select
        action_id, rule, call_id, state, state_reason, attempts, http_status, happened_at, intended_at,
        due_at, sent_at, delay_s, answer
    from stored.actions
    where ($rule is null or rule = $rule)
        and ($state is null or state = $state)
        and ($call_id is null or call_id = $call_id)
    order by intended_at desc, action_id
    limit $most
"""

_ACTION = """
    select * exclude (last_step, round, identity_hash)
    from stored.actions
    where action_id = $action_id
"""

_STEPS = """
    select step_number, recorded_at, step, http_status, error, due_at, cause, links, body, actor_id
    from ops.action_steps
    where action_id = $action_id
    order by step_number, recorded_at, actor_id, sequence
"""


@dataclass(frozen=True)
class RuleStanding:
    """One rule, and what became of what it wanted.

    Attributes:
        name: Its name.
        kind: How it acts; None if its file can't be used.
        is_named: Whether `VERBEX_ACTIONS` names it.
        begins_at: Since when it acts on what happens, UTC; None if it does not act.
        counts: The number of its actions by state.
        newest_sent_at: When the newest was sent, UTC; None if none was.
        median_delay_s: The median of the time from the fact to the delivery [s].
        problem: Why nothing of it can go out; empty if nothing hinders it.
    """

    name: str
    kind: str | None
    is_named: bool
    begins_at: datetime | None
    counts: Mapping[str, int]
    newest_sent_at: datetime | None
    median_delay_s: float | None
    problem: str


def list_standings(folder: DataFolder, settings: Settings) -> list[RuleStanding]:
    """List all rules: those that are named, those that are off, and those that once acted and are gone.

    Raises:
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
        ModelError: A file of SQL that comes with verbex-sync can't be used.
    """
    names = name_rules(folder)
    rules = load_rules(folder, names)
    with read_actions(folder) as connection:
        found: dict[str, Sequence[Any]] = {
            rule: rest for rule, *rest in connection.execute(_COUNTS).fetchall()
        }
        namings = list_namings(connection)
        problems = {name: _problem(connection, folder, settings, name, rules.get(name)) for name in names}
    standings = []
    for name in dict.fromkeys([*names, *found]):
        kind, counts, newest_sent_at, median_delay_s = found.get(name, (None, {}, None, None))
        rule = rules.get(name)
        standings.append(
            RuleStanding(
                name,
                rule.kind if isinstance(rule, Rule) else kind,
                name in folder.rules,
                _begins_at(namings.get(name), is_named=name in folder.rules),
                {state: counts.get(state, 0) for state in STATES},
                newest_sent_at,
                median_delay_s,
                problems.get(name, "There is no file of this name any more."),
            )
        )
    return standings


def count_waiting(folder: DataFolder) -> int:
    """Count the actions that are due or held.

    Raises:
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    with read_actions(folder) as connection:
        sql = "select count(*) from stored.actions where state in ('due', 'held')"
        ((count,),) = connection.execute(sql).fetchall()
    return int(count)


def read_log(
    folder: DataFolder, most: int, *, rule: str | None, state: str | None, call_id: str | None
) -> Rows:
    """Return the newest actions, of one rule, state and call if they are given.

    Raises:
        RuleWordError: There is no such rule, now or in the tables.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    given = {"rule": rule, "state": state, "call_id": call_id, "most": most}
    with read_actions(folder) as connection:
        rows = _rows(connection, _LOG, given)
        if rule is not None and not rows.rows:
            acted = [
                name for (name,) in connection.execute("select distinct rule from stored.actions").fetchall()
            ]
            known = list(dict.fromkeys([*name_rules(folder), *acted]))
            if rule not in known:
                raise RuleWordError(f"There is no rule {rule}. There are: {', '.join(known)}.")
    return rows


def read_action(folder: DataFolder, action_id: str) -> tuple[dict[str, Any], Rows]:
    """Return one action by its columns, and all of its steps.

    Raises:
        RuleWordError: There is none of this id.
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    given = {"action_id": action_id}
    with read_actions(folder) as connection:
        action = _rows(connection, _ACTION, given)
        if not action.rows:
            raise RuleWordError(
                f"There is no action {action_id} in the published tables. `verbex-sync actions log` "
                "lists them."
            )
        return dict(zip(action.columns, action.rows[0], strict=True)), _rows(connection, _STEPS, given)


def _problem(
    connection: duckdb.DuckDBPyConnection,
    folder: DataFolder,
    settings: Settings,
    name: str,
    rule: Rule | str | None,
) -> str:
    if not isinstance(rule, Rule):
        return rule or "There is no rule of this name."
    if name not in folder.rules:
        return ""
    if not is_current(connection, [rule]):
        return "Its table is not built from its file as it is now. Run `verbex-sync sync`, which says why."
    try:
        list_newest(connection, rule, rule.table, 0)
    except RuleError as error:
        return str(error)
    return problem_of(settings, rule) or ""


def _begins_at(naming: Naming | None, *, is_named: bool) -> datetime | None:
    return naming.begins_at if naming is not None and naming.is_named and is_named else None


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, given: Mapping[str, object]) -> Rows:
    result = connection.execute(sql, given)
    return Rows(tuple(name for name, *_ in result.description or ()), tuple(result.fetchall()))
