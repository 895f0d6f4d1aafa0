"""What rules want done that was not wanted before, as the published tables show it.

Reading it from the tables, and making actions of it, belongs here. When a rule begins to act does not: see
`pipelines.actions.named`. Sending does not either.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import duckdb

from connector.errors import OperatorError
from pipelines.actions.action import Action
from pipelines.models.rule import HAPPENED_AT, Rule
from pipelines.warehouse.catalog import columns_of, quoted
from pipelines.warehouse.changes import changed_keys
from pipelines.warehouse.data_folder import DataFolder

BODY = "body"
"""The column that, where a rule has it, is sent alone and as a whole."""
_UTC_ISO = "strftime({} at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
_FIRST, _LAST = "timestamptz '0001-01-02 00:00:00Z'", "timestamptz '9999-12-30 00:00:00Z'"
"""The moments that Python has in every time zone; infinity is none of them."""
_NOT_FINITE = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|-?(?:inf(?:inity)?|nan)', re.IGNORECASE)


class RuleError(OperatorError):
    """A rule whose table does not hold what is needed to act on it."""


@dataclass(frozen=True)
class Wanted:
    """A row of a rule that is to be acted on: what is known of it before it becomes an action."""

    rule: Rule
    identity: str
    cause: str | None
    lane: str | None
    call_id: str | None
    happened_at: datetime
    not_before: datetime | None
    not_after: datetime | None
    body: bytes
    revision: int

    def as_action(self, at: datetime) -> Action:
        """Return the action, decided at `at`, UTC."""
        return Action(
            action_id=action_id_of(self.rule.name, self.identity, self.revision),
            rule=self.rule.name,
            kind=self.rule.kind,
            identity=self.identity,
            revision=self.revision,
            call_id=self.call_id,
            happened_at=self.happened_at,
            intended_at=at,
            due_at=max(self.not_before or at, at),
            expires_at=self.not_after,
            body=self.body,
            keep=self.rule.keep,
            cause=self.cause,
            lane=self.lane,
        )


Known = Mapping[tuple[str, str], tuple[int, str | None]]
"""By rule and identity, the newest revision of an action and its cause."""


def action_id_of(rule: str, identity: str, revision: int) -> str:
    """Return the identity of an action: the same on every machine, whenever it is decided."""
    digest = sha256(json.dumps([rule, identity, revision]).encode()).hexdigest()
    return f"act_{digest[:32]}"


def list_wanted(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    *,
    begins_at: datetime | None,
    ends_at: datetime | None = None,
    since: UUID | None = None,
    known: Known | None = None,
    is_backfill_counted: bool = False,
) -> list[Wanted]:
    """List what a rule wants done that no action is about yet, in the order in which it happened.

    Args:
        connection: The published tables, UTC.
        rule: The rule.
        begins_at: The time from which on what happens counts, UTC; None for all of history.
        ends_at: The time from which on it does not count any more, UTC; None for no end.
        since: The publish up to which this was asked before; None to look at all rows.
        known: Actions that the published tables may not have yet.
        is_backfill_counted: Whether starts and ends of calls count that only a backfill found.

    Raises:
        RuleError: The table lacks a column, or a column has a type that can't be used.
    """
    changed = changed_keys(connection, rule, since) if since else None
    if changed is not None and not connection.execute(f"select 1 from ({changed}) limit 1").fetchall():
        return []
    given = {"begins_at": begins_at, "ends_at": ends_at, "is_backfill_counted": is_backfill_counted}
    found = connection.execute(_query(connection, rule, changed), given).fetchall()
    return list(_new(rule, found, known or {}))


def list_newest(connection: duckdb.DuckDBPyConnection, rule: Rule, relation: str, most: int) -> list[Wanted]:
    """List the newest rows of a rule as they would be acted on for the first time.

    Args:
        connection: The published tables, UTC.
        rule: The rule.
        relation: Where its rows are: its table, or another relation with the same columns.
        most: The number of rows.

    Raises:
        RuleError: As for `list_wanted`.
    """
    found = connection.execute(
        f"""
        select *, null::integer as _revision, null::varchar as _last_cause
        from ({_rows(connection, rule, relation)})
        where _happened_at is not null
        order by _happened_at desc, _identity
        limit {most}
        """
    ).fetchall()
    return list(_new(rule, found, {}))


def is_wanted(folder: DataFolder, rule: Rule, action: Action) -> bool:
    """Return whether the published table of a rule still has the row that an action was made of."""
    with folder.read() as connection:
        types = dict(columns_of(connection, f"from {rule.table}"))
        sql = f"select 1 from {rule.table} where {_object(rule.once_per, types)} = $identity limit 1"
        return bool(connection.execute(sql, {"identity": action.identity}).fetchall())


def _new(rule: Rule, rows: Sequence[tuple[Any, ...]], known: Known) -> Iterator[Wanted]:
    for identity, cause, lane, call_id, happened_at, before, after, body, revision, last_cause in rows:
        newest = known.get((rule.name, identity))
        if newest is None and revision is not None:
            newest = (revision, last_cause)
        if newest is None or (rule.again_when and newest[1] != cause):
            number = 1 if newest is None else newest[0] + 1
            yield Wanted(
                rule, identity, cause, lane, call_id, happened_at, before, after, _valid(body), number
            )


def _query(connection: duckdb.DuckDBPyConnection, rule: Rule, changed: str | None) -> str:
    keys = ", ".join(map(quoted, rule.keys))
    semi = f"where rowid in (select rowid from {rule.table} semi join ({changed}) using ({keys}))"
    rows = _rows(connection, rule, rule.table)
    return f"""
        with wanted as ({rows} {semi if changed else ""}),

        backfilled as (
            select call_id, started_at as found_at from stored.calls where started_source = 'api'
            union all
            select call_id, ended_at as found_at from stored.calls where ended_source = 'api'
        ),

        new as (
            select wanted.*
            from wanted
            anti join backfilled
                on call_id = _call_id and found_at = _happened_at and not $is_backfill_counted
            where _happened_at is not null
                and ($begins_at is null or _happened_at >= $begins_at)
                and ($ends_at is null or _happened_at < $ends_at)
        ),

        known as (
            select identity, max(revision) as revision, arg_max_null(cause, revision) as cause
            from stored.actions
            where rowid in (
                select rowid
                from stored.actions
                where identity_hash in (select hash('{rule.name} ' || _identity) from new)
            )
                and rule = '{rule.name}'
            group by identity
        )

        select
            _identity, _cause, _lane, _call_id, _happened_at, _before, _after, _body,
            known.revision, known.cause
        from new
        left join known on known.identity = _identity
        {"" if rule.again_when else "where known.revision is null"}
        order by _happened_at, _identity
    """


def _rows(connection: duckdb.DuckDBPyConnection, rule: Rule, relation: str) -> str:
    """Return a SELECT, to which WHERE can be added, of the rows of a rule with what acting needs."""
    types = dict(columns_of(connection, f"from {relation}"))
    _refuse_columns(rule, types)
    moments = [
        f"{_within_calendar(quoted(name))} as {alias}" if name else f"null::timestamptz as {alias}"
        for name, alias in (
            (HAPPENED_AT, "_happened_at"),
            (rule.not_before, "_before"),
            (rule.not_after, "_after"),
        )
    ]
    # a change that overtook what it changed would leave older values with the receiver
    lane = rule.in_order_of or (rule.once_per if rule.again_when else ())
    call_id = "call_id::varchar" if "call_id" in types else "null"
    return f"""
        select
            {_object(rule.once_per, types)} as _identity,
            {_object(rule.again_when, types) if rule.again_when else "null"} as _cause,
            {_object(lane, types) if lane else "null"} as _lane,
            {call_id} as _call_id,
            {", ".join(moments)},
            {_body(rule, types)} as _body
        from {relation}
    """


def _refuse_columns(rule: Rule, types: Mapping[str, str]) -> None:
    needed = {HAPPENED_AT: ""} | {
        name: field
        for field in ("once per", "again when", "in order of", "not before", "not after")
        for name in rule.listed(field)
    }
    for name, field in needed.items():
        if name not in types:
            raise RuleError(
                f"{rule.where(field)}: its SELECT gives no column `{name}`, so nothing is sent. Add it."
            )
    for name in filter(None, (HAPPENED_AT, rule.not_before, rule.not_after)):
        if types[name] != "TIMESTAMP WITH TIME ZONE":
            raise RuleError(
                f"{rule.where()}: `{name}` is {types[name].lower()}, and must be a timestamptz, so nothing "
                "is sent. Cast it."
            )


def _body(rule: Rule, types: Mapping[str, str]) -> str:
    if BODY in types:
        return f"coalesce({_as_json(BODY, types[BODY])}::varchar, 'null')"
    left_out = {
        rule.not_before,
        rule.not_after,
        *(column.name for column in rule.columns if column.is_hidden),
    }
    return _object([name for name in types if name not in left_out], types)


def _object(names: Sequence[str], types: Mapping[str, str]) -> str:
    """Return the SQL of a JSON object of columns, as text without spaces."""
    quote = "'"
    fields = [
        f"{quote}{json.dumps(name, ensure_ascii=False).replace(quote, quote * 2)}:{quote}"
        f" || coalesce({_as_json(name, types[name])}::varchar, 'null')"
        for name in names
    ]
    return "'{' || " + " || ',' || ".join(fields) + " || '}'"


def _as_json(name: str, kind: str) -> str:
    column = quoted(name)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"to_json({_UTC_ISO.format(column)})"
    return f"to_json({column})"


def _within_calendar(moment: str) -> str:
    return f"case when {moment} is not null then least(greatest({moment}, {_FIRST}), {_LAST}) end"


def _valid(body: str) -> bytes:
    """Return JSON of DuckDB as bytes. Numbers that are not finite become null; all else stays as written."""
    return _NOT_FINITE.sub(lambda found: found[1] or "null", body).encode()
