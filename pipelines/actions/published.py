"""What the published tables say about actions: which are unsettled, which rules act, and since when.

Reading belongs here. What follows from it does not: see `pipelines.actions.dispatcher`.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import duckdb

from connector.landing.files import Landing
from connector.landing.zones import ACTIONS
from pipelines.actions.action import Action
from pipelines.actions.backlog import Waiting
from pipelines.models.model import Model
from pipelines.warehouse.changes import changed_keys
from pipelines.warehouse.data_folder import DataFolder, OutdatedTablesError
from pipelines.warehouse.intake import find_new_files

STEPS = "ops.action_steps"
TABLE = "actions"

_COLUMNS = """
    select
        action_id, rule, kind, identity, revision, call_id, happened_at, intended_at, due_at, expires_at,
        request, cause, lane, state, state_reason, attempts, steps, round, last_step
    from stored.actions
"""
_UNSETTLED = "state in ('due', 'held')"

_NAMED = """
    select
        rule,
        arg_max(struct_pack(step, cause, due_at), struct_pack(recorded_at, actor_id, sequence)) as step
    from ops.action_steps
    where step in ('named', 'unnamed')
    group by rule
"""

_ATTEMPTED = """
    select rule, recorded_at
    from ops.action_steps
    where recorded_at >= $since
        and (
            step = 'started'
            or step in ('tried', 'sent', 'failed', 'unknown')
                and action_id not in (select action_id from ops.action_steps where step = 'started')
        )
    order by recorded_at
"""

_TROUBLES = """
    select rule, state, count(*)
    from stored.actions
    where state in ('failed', 'unknown') and last_step <> 'settled' and list_contains($rules, rule)
    group by all
"""


@dataclass(frozen=True)
class Naming:
    """The newest step of a rule: whether it acts, on what happens from when on, and by which version."""

    is_named: bool
    version: str | None
    begins_at: datetime | None


@dataclass(frozen=True)
class Row:
    """One row of `actions`."""

    waiting: Waiting
    state: str
    last_step: str

    @property
    def is_unsettled(self) -> bool:
        """Whether something is still to be done."""
        return self.state in ("due", "held")


@contextmanager
def read_actions(folder: DataFolder) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published tables for people, who are to see what is known of actions.

    Raises:
        NothingPublishedError: Nothing is published yet.
        OutdatedTablesError: The tables of actions were made by another version.
    """
    with folder.read() as connection:
        if not is_current(connection, [model for model in folder.models if model.table in (STEPS, TABLE)]):
            raise OutdatedTablesError(
                "The published tables of actions were made by another version of verbex-sync. Run "
                "`verbex-sync sync` first."
            )
        yield connection


def is_current(connection: duckdb.DuckDBPyConnection, models: Sequence[Model]) -> bool:
    """Return whether the published tables of `models` were made by today's SQL."""
    built = dict(connection.execute("select model, fingerprint from ops.models").fetchall())
    return all(built.get(model.table) == model.fingerprint for model in models)


def has_all_steps(connection: duckdb.DuckDBPyConnection, landing: Landing) -> bool:
    """Return whether the published tables hold every step that has landed."""
    return not find_new_files(connection, landing, ACTIONS, [STEPS]).files


def list_unsettled(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """List the actions that are due or held."""
    return _rows(connection.execute(f"{_COLUMNS} where {_UNSETTLED}").fetchall())


def list_changed(
    connection: duckdb.DuckDBPyConnection, model: Model, since: UUID, known: Collection[str]
) -> list[Row]:
    """List the actions that changed since a publish; all unsettled and `known` ones if that is not known."""
    changed = changed_keys(connection, model, since)
    if changed is None:
        which, given = f"{_UNSETTLED} or list_contains($known, action_id)", {"known": list(known)}
    else:
        which = f"rowid in (select rowid from stored.actions semi join ({changed}) using (identity_hash))"
        given = {}
    return _rows(connection.execute(f"{_COLUMNS} where {which}", given).fetchall())


def list_actions_of(
    connection: duckdb.DuckDBPyConnection, rules: Collection[str], ids: Collection[str]
) -> list[Row]:
    """List the actions of rules that are not sent, and those with these ids, oldest first."""
    which = "(list_contains($rules, rule) and state <> 'sent') or list_contains($ids, action_id)"
    given = {"rules": list(rules), "ids": list(ids)}
    sql = f"{_COLUMNS} where {which} order by intended_at, action_id"
    return _rows(connection.execute(sql, given).fetchall())


def list_namings(connection: duckdb.DuckDBPyConnection) -> dict[str, Naming]:
    """Return the newest step of each rule that was ever named."""
    return {
        rule: Naming(step["step"] == "named", step["cause"], step["due_at"])
        for rule, step in connection.execute(_NAMED).fetchall()
    }


def list_attempt_times(connection: duckdb.DuckDBPyConnection, since: datetime) -> dict[str, list[datetime]]:
    """Return when each rule made its attempts since a moment, UTC, oldest first."""
    times: dict[str, list[datetime]] = {}
    for rule, at in connection.execute(_ATTEMPTED, {"since": since}).fetchall():
        times.setdefault(rule, []).append(at)
    return times


def read_last_received_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return when the newest event was received, UTC; None if there is none."""
    found: list[tuple[datetime | None]] = connection.execute(
        "select max(received_at) from stored.events"
    ).fetchall()
    return found[0][0]


def count_troubles(connection: duckdb.DuckDBPyConnection, rules: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count by rule and state the actions that a person must look at: those that failed or are unknown.

    What a person has settled is not among them.
    """
    counts: dict[str, dict[str, int]] = {}
    found = connection.execute(_TROUBLES, {"rules": list(rules)}).fetchall()
    for rule, state, count in found:
        counts.setdefault(rule, {})[state] = count
    return counts


def _rows(found: Sequence[tuple[Any, ...]]) -> list[Row]:
    return [_row(*values) for values in found]


def _row(
    action_id: str, rule: str, kind: Any, identity: str, revision: int, call_id: str | None,  # noqa: ANN401
    happened_at: datetime, intended_at: datetime, due_at: datetime | None, expires_at: datetime | None,
    request: str, cause: str | None, lane: str | None, state: str, reason: str | None,
    attempts: int, steps: int, round_: int, last_step: str,
) -> Row:  # fmt: skip
    action = Action(
        action_id, rule, kind, identity, revision, call_id, happened_at, intended_at,
        due_at or intended_at, expires_at, request.encode(), (), cause, lane,
    )  # fmt: skip
    waiting = Waiting(
        action, due_at or intended_at, steps, attempts, round_,
        reason or "" if state == "held" else "", is_begun=last_step == "started",
    )  # fmt: skip
    return Row(waiting, state, last_step)
