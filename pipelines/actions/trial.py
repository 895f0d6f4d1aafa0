"""A rule that is off, tried on the published tables: the rows that it would have, without a table of its own.

Evaluating its SELECT belongs here. What would be sent for a row does not: see `pipelines.actions.preview`.
"""

from collections.abc import Sequence

import duckdb

from pipelines.actions.decide import RuleError, Wanted, list_newest
from pipelines.models.model import CHANGED, Model
from pipelines.models.rule import Rule
from pipelines.warehouse.audit import define_functions

_TRIAL = "temp.main.trial"
_LAST_ROWS = (10_000, 1_000_000, None)
"""How many of the last rows of each table are looked at, until there are enough: new ones come at the end."""


def try_rule(
    connection: duckdb.DuckDBPyConnection, rule: Rule, models: Sequence[Model], most: int
) -> list[Wanted]:
    """List some of the newest rows of a rule, computed by its SQL from the published tables.

    Args:
        connection: The published tables, UTC. Only temporary tables are made.
        rule: The rule.
        models: The models of the published tables.
        most: The number of rows.

    Raises:
        RuleError: Its SQL can't be run, or its rows lack a column.
    """
    stored = {model.table: model.stored for model in models}
    found: list[Wanted] = []
    try:
        define_functions(connection, rule.functions)
        for last in _LAST_ROWS if rule.is_incremental else (None,):
            if rule.is_incremental:
                _mark_changed(connection, rule, stored, last)
            connection.execute(f"create or replace temp table trial as {rule.sql}")
            found = list_newest(connection, rule, _TRIAL, most)
            if len(found) >= most:
                break
    except duckdb.Error as error:
        raise RuleError(
            f"{rule.where()} can't be run on the published tables. Fix it, or run `verbex-sync sync` first. "
            f"DuckDB reports: {error}"
        ) from error
    return found


def _mark_changed(
    connection: duckdb.DuckDBPyConnection, rule: Rule, stored: dict[str, str], last: int | None
) -> None:
    """Make the keys of the last rows of each table that the rule reads, as if only these had changed."""
    keys = []
    for name in sorted(rule.upstream):
        table = stored.get(name, name)
        since = f"where rowid > (select max(rowid) from {table}) - {last}" if last else ""
        keys.append(f"from (from {table} {since}) {rule.changed_by(name)}")
    connection.execute(f"create or replace temp table {CHANGED} as {' union '.join(keys)}")
