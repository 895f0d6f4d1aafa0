"""Whether a rule wants something now, so that no run is started for nothing.

Only this question belongs here. It must be cheap: it is asked every few seconds.
"""

from collections import deque
from collections.abc import Iterator
from datetime import datetime

import duckdb

from connector.errors import OperatorError
from connector.settings import Settings
from pipelines.actions.backlog import Backlog, Waiting
from pipelines.actions.do_not_call import read_do_not_call
from pipelines.actions.holding import LONGEST_LIMIT, kind_problem_of, problem_of, reason_to_hold
from pipelines.actions.paths import state_dir_of
from pipelines.actions.position import FAILED, read_positions
from pipelines.actions.published import (
    STEPS,
    TABLE,
    has_all_steps,
    is_current,
    list_attempt_times,
    list_namings,
    list_unsettled,
)
from pipelines.models.rule import Rule
from pipelines.warehouse.changes import changed_keys, newest_publish
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError


def has_work(settings: Settings, folder: DataFolder, now: datetime) -> bool:
    """Return whether a rule is to be named, may want something new, or has something to do at `now`, UTC."""
    if any(state_dir_of(folder).glob("*.steps")):
        return True
    try:
        with folder.read() as connection:
            models = folder.models
            if not is_current(connection, [model for model in models if model.table in (STEPS, TABLE)]):
                return False
            rules = {model.name: model for model in models if isinstance(model, Rule)}
            is_wanted = (
                _is_renamed(connection, folder, rules)
                or _has_new(connection, folder, rules)
                or _has_due(connection, settings, folder, rules, now)
            )
            # what an earlier run did is known once it is loaded
            return is_wanted and has_all_steps(connection, folder.landing)
    except NothingPublishedError:
        return False


def _is_renamed(connection: duckdb.DuckDBPyConnection, folder: DataFolder, rules: dict[str, Rule]) -> bool:
    """Return whether a rule was named or removed since the last look."""
    named = {name for name, naming in list_namings(connection).items() if naming.is_named}
    return named != set(folder.rules) & (rules.keys() | named)


def _has_new(connection: duckdb.DuckDBPyConnection, folder: DataFolder, rules: dict[str, Rule]) -> bool:
    """Return whether a rule says something else since the last look, or has rows that are new."""
    newest = newest_publish(connection)
    positions = read_positions(state_dir_of(folder))
    for name, rule in rules.items():
        position = positions.get(name)
        if newest is None or not is_current(connection, [rule]):
            continue
        if position is None or position.version not in (rule.version, FAILED):
            return True
        if position.publish_id == newest.id:
            continue
        changed = changed_keys(connection, rule, position.publish_id)
        if changed is None or connection.execute(f"select 1 from ({changed}) limit 1").fetchall():
            return True
    return False


def _has_due(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    folder: DataFolder,
    rules: dict[str, Rule],
    now: datetime,
) -> bool:
    """Return whether more can be done about an action whose time has come than to hold it again."""
    backlogs: dict[str, Backlog] = {}
    for row in list_unsettled(connection):
        backlogs.setdefault(row.waiting.action.rule, Backlog()).add(row.waiting)
    times = list_attempt_times(connection, now - LONGEST_LIMIT) if backlogs else {}
    for name in backlogs.keys() & rules.keys():
        rule = rules[name]
        held = reason_to_hold(rule, deque(times.get(name, ())), now, _problem_of(settings, folder, rule))
        reason = held[0] if held else ""
        for waiting in _take_due(backlogs[name], now):
            if _is_doable(waiting, reason or kind_problem_of(rule, waiting.action) or "", now):
                return True
    return False


def _is_doable(waiting: Waiting, reason: str, now: datetime) -> bool:
    expires_at = waiting.action.expires_at
    is_late = expires_at is not None and now > expires_at
    return not reason or waiting.is_begun or is_late or waiting.reason != reason


def _take_due(backlog: Backlog, now: datetime) -> Iterator[Waiting]:
    while (waiting := backlog.take(now)) is not None:
        yield waiting


def _problem_of(settings: Settings, folder: DataFolder, rule: Rule) -> str | None:
    if rule.kind == "dial":
        try:
            read_do_not_call(folder)
        except OperatorError as error:
            return problem_of(settings, rule) or str(error)
    return problem_of(settings, rule)
