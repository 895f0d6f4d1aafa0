"""One look at the published tables: which rules begin to act, what they want, and what people have changed.

What follows from the tables belongs here, and that it is durable before anybody relies on it. Sending does
not: see `pipelines.actions.dispatcher`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from connector.landing.zones import ACTIONS
from pipelines.actions.action import Action
from pipelines.actions.decide import RuleError, list_wanted
from pipelines.actions.position import FAILED, Position, read_positions, write_positions
from pipelines.actions.published import (
    STEPS,
    TABLE,
    Naming,
    Row,
    has_all_steps,
    is_current,
    list_changed,
    list_namings,
    list_unsettled,
    read_last_received_at,
)
from pipelines.actions.step_log import StepLog
from pipelines.actions.steps import StepRow, intended, step_of
from pipelines.models.model import Model
from pipelines.models.rule import Rule
from pipelines.warehouse.changes import Publish, newest_publish
from pipelines.warehouse.data_folder import DataFolder

_FORGET_FROM = 10_000
_LATEST_ARRIVAL = timedelta(minutes=10)
"""How long before the last look something may have happened that an edited rule still judges."""


@dataclass(frozen=True)
class Seen:
    """What a look found. All of `actions` are durable.

    Attributes:
        rules: The rules that act, by name.
        actions: What is wanted now and was not before.
        rows: Rows of `actions` that may say something new; at the first look, all that are unsettled.
        cancelled: Rows that waited while their rule was off, and are cancelled by this look.
        problems: Why rules can't act, by name.
        is_first: True if this was the first look of the process.
    """

    rules: dict[str, Rule]
    actions: list[Action]
    rows: list[Row]
    cancelled: list[Row]
    problems: dict[str, str]
    is_first: bool


@dataclass
class Lookout:
    """The looks of one process at the published tables of one data folder."""

    folder: DataFolder
    state_dir: Path
    log: StepLog
    clock: Callable[[], datetime]
    _seen: Publish | None = None
    _link_seen: tuple[int, int] | None = None
    _has_named_first: bool = False
    _namings: dict[str, Naming] = field(default_factory=dict)
    _recent: dict[tuple[str, str], tuple[int, str | None]] = field(default_factory=dict)

    def look(self, known: Sequence[str]) -> Seen | None:
        """Look at the published tables, unless they are those that were looked at last.

        Args:
            known: The ids of actions that are known to this process.

        Returns:
            None if there is nothing new, or if the tables do not hold yet what is needed to tell what is new.

        Raises:
            NothingPublishedError: Nothing is published yet.
            OSError: What was decided can't be stored. Nothing is relied on.
        """
        link = self._link()
        if link == self._link_seen:
            return None
        with self.folder.read() as connection:
            seen = self._look_if_ready(connection, known)
        self._link_seen = link  # what is missing comes with another publish
        return seen

    def _look_if_ready(self, connection: duckdb.DuckDBPyConnection, known: Sequence[str]) -> Seen | None:
        publish = newest_publish(connection)
        if publish is None or (self._seen is not None and publish.id == self._seen.id):
            return None
        models = self.folder.models
        if not is_current(connection, [model for model in models if model.table in (STEPS, TABLE)]):
            return None
        if self._seen is None and not has_all_steps(connection, self.folder.landing):
            return None
        return self._look(connection, publish, models, known)

    def name_first(self) -> None:
        """Name the rules where none ever was, before there are tables: the first call counts already.

        Raises:
            OSError: The steps can't be stored.
        """
        if self._has_named_first:
            return
        self._has_named_first = True  # looked at once, for each look at a bucket is a request
        if self.folder.landing.list_stored([ACTIONS]):
            return
        rules = [model for model in self.folder.models if isinstance(model, Rule)]
        namings = {
            rule.name: Naming(is_named=True, version=rule.version, begins_at=self.clock()) for rule in rules
        }
        self.log.append(self._steps_of(namings))
        self.log.land()

    def _steps_of(self, namings: Mapping[str, Naming]) -> list[StepRow]:
        now = self.clock()
        return [
            StepRow(
                now,
                "named" if naming.is_named else "unnamed",
                name,
                cause=naming.version,
                due_at=naming.begins_at,
            )
            for name, naming in namings.items()
        ]

    def _link(self) -> tuple[int, int]:
        """Return what shows that something was published: each publish makes another link."""
        try:
            stat = self.folder.warehouse.published.lstat()
        except FileNotFoundError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)

    def _look(
        self,
        connection: duckdb.DuckDBPyConnection,
        publish: Publish,
        models: Sequence[Model],
        known: Sequence[str],
    ) -> Seen:
        rules = {model.name: model for model in models if isinstance(model, Rule)}
        problems = self._find_problems(models)
        positions = read_positions(self.state_dir)
        if self._seen is None:
            self._namings = list_namings(connection)
            rows = list_unsettled(connection)
        else:
            table = next(model for model in models if model.table == TABLE)
            rows = list_changed(connection, table, self._seen.id, known)
        switched_on = {name for name in rules if name in self._namings and not self._namings[name].is_named}
        cancelled = [row for row in rows if _is_left(row, switched_on)]
        namings = self._name(connection, rules, positions)
        actions: list[Action] = []
        looked: dict[str, Position] = {}
        for name, rule in rules.items():
            if not is_current(connection, [rule]):
                continue  # its table is not built, or it is held back; `sync` says why
            before = positions.get(name)
            since = before.publish_id if before and before.version == rule.version else None
            begins_at = (namings.get(name) or self._namings[name]).begins_at
            try:
                wanted = list_wanted(connection, rule, begins_at=begins_at, since=since, known=self._recent)
            except RuleError as error:
                problems[name] = str(error)
                looked_at = before.looked_at if before else begins_at or publish.published_at
                looked[name] = Position(publish.id, looked_at, FAILED)
                continue
            now = self.clock()
            actions += [each.as_action(now) for each in wanted]
            looked[name] = Position(publish.id, publish.published_at, rule.version)
        # first what is cancelled: were only the naming stored, it would go out
        cancels = [_cancel(row, self.clock()) for row in cancelled]
        self.log.append([*cancels, *self._steps_of(namings), *map(intended, actions)])
        self._namings |= namings
        write_positions(self.state_dir, positions | looked)
        is_first, self._seen = self._seen is None, publish
        self._remember(connection, actions)
        others = [row for row in rows if not _is_left(row, switched_on)]
        return Seen(rules, actions, others, cancelled, problems, is_first)

    def _find_problems(self, models: Sequence[Model]) -> dict[str, str]:
        broken = {model.name: model.problem for model in models if model.problem}
        unusable = {each.name: each.problem for each in self.folder.sql.unusable}
        return {name: why for name, why in (unusable | broken).items() if name in self.folder.rules}

    def _name(
        self,
        connection: duckdb.DuckDBPyConnection,
        rules: dict[str, Rule],
        positions: dict[str, Position],
    ) -> dict[str, Naming]:
        """Return the namings of rules that begin to act now, say something else than before, or are off."""
        now = self.clock()
        namings: dict[str, Naming] = {}
        for name, rule in rules.items():
            before = self._namings.get(name)
            if before is not None and before.is_named and before.version == rule.version:
                continue
            if before is not None and before.is_named and name in positions:
                # what happened around the last look may still arrive, and is to be judged
                begins_at = max(filter(None, (before.begins_at, positions[name].looked_at - _LATEST_ARRIVAL)))
            else:
                # a clock that is behind must not make history of what is known already
                begins_at = max(filter(None, (now, read_last_received_at(connection))))
            namings[name] = Naming(is_named=True, version=rule.version, begins_at=begins_at)
        for name, naming in self._namings.items():
            if naming.is_named and name not in self.folder.rules:
                namings[name] = Naming(is_named=False, version=None, begins_at=None)
        return namings

    def _remember(self, connection: duckdb.DuckDBPyConnection, actions: Sequence[Action]) -> None:
        """Remember what the published tables can't know yet, and forget what they know by now."""
        if len(self._recent) > _FORGET_FROM:
            found = connection.execute(
                "select rule, identity, max(revision) from stored.actions where identity_hash in "
                "(select hash(unnest($names::varchar[]))) group by all",
                {"names": [f"{rule} {identity}" for rule, identity in self._recent]},
            ).fetchall()
            for rule, identity, revision in found:
                if revision >= self._recent.get((rule, identity), (revision + 1,))[0]:
                    del self._recent[rule, identity]
        for action in actions:
            self._recent[action.rule, action.identity] = (action.revision, action.cause)


def _is_left(row: Row, switched_on: set[str]) -> bool:
    """Return whether an action waited while its rule was off. A call that may have been made is no such."""
    return row.waiting.action.rule in switched_on and row.is_unsettled and not row.waiting.is_begun


def _cancel(row: Row, at: datetime) -> StepRow:
    number = row.waiting.steps + 1
    return step_of(row.waiting.action, "cancelled", number, at, error="the rule was switched off meanwhile")
