"""Whether a rule wants something now, so that no run is started for nothing.

Only this question belongs here. It must be cheap: it is asked every few seconds.
"""

from datetime import datetime

import duckdb

from pipelines.actions.paths import state_dir_of
from pipelines.actions.position import read_positions
from pipelines.actions.published import STEPS, TABLE, is_current, list_namings, list_unsettled
from pipelines.models.rule import Rule
from pipelines.warehouse.changes import changed_keys, newest_publish
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError


def has_work(folder: DataFolder, now: datetime) -> bool:
    """Return whether a rule is to be named, may want something new, or has something due at `now`, UTC."""
    if any(state_dir_of(folder).glob("*.steps")):
        return True
    try:
        with folder.read() as connection:
            return _has_work(folder, connection, now)
    except NothingPublishedError:
        return False


def _has_work(folder: DataFolder, connection: duckdb.DuckDBPyConnection, now: datetime) -> bool:
    models = folder.models
    rules = [model for model in models if isinstance(model, Rule)]
    if not is_current(connection, [model for model in models if model.table in (STEPS, TABLE)]):
        return False
    named = {name for name, naming in list_namings(connection).items() if naming.is_named}
    if named != set(folder.rules) & ({rule.name for rule in rules} | named):
        return True
    names = {rule.name for rule in rules}
    if any(
        row.waiting.due_at <= now and row.waiting.action.rule in names for row in list_unsettled(connection)
    ):
        return True
    newest = newest_publish(connection)
    positions = read_positions(state_dir_of(folder))
    for rule in rules:
        position = positions.get(rule.name)
        if position is None or position.version != rule.version:
            return True
        if newest is not None and position.publish_id != newest.id and is_current(connection, [rule]):
            changed = changed_keys(connection, rule, position.publish_id)
            if changed is None or connection.execute(f"select 1 from ({changed}) limit 1").fetchall():
                return True
    return False
