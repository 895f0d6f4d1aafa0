"""One table brought up to date in one transaction: find the changed keys, compute, audit, replace.

What happens inside a table's transaction belongs here. Which tables are refreshed, in what order and
in which file does not: `pipelines.sync`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from pipelines.audit import assertions, run_check
from pipelines.ledger import Ledger, columns_of, create_empty, quoted
from pipelines.models import CHANGED, EXISTING, Check, Model, relations_in


@dataclass(frozen=True)
class Outcome:
    """What a refresh did to a table; a row that changed counts as one replaced and one added."""

    rows_added: int
    rows_replaced: int
    row_count: int


class Runner:
    """Refreshes tables in one open warehouse file, of which it is the only writer."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model], checks: Sequence[Check] = ()
    ) -> None:
        self._sql = connection
        self._models = tuple(models)
        self._checks = tuple(check for check in checks if check.is_blocking)
        self.ledger = Ledger(connection)
        for definition in sorted({each.definition for model in models for each in model.functions}):
            self._sql.execute(definition)
        self._forget_outdated()

    def reset(self, models: Sequence[Model]) -> None:
        """Forget the tables of `models` and of all that reads them, to be built anew from what they read."""
        outdated = {model.table for model in models}
        for model in self._models:  # each stands after what it reads, so one pass reaches everything
            if model.table in outdated or model.upstream & outdated:
                outdated.add(model.table)
        with self._transaction():
            for table in outdated:
                self.ledger.drop(table)

    def stands(self, model: Model) -> bool:
        """Whether the table of `model` is there."""
        return model.table in self.ledger.fingerprints()

    def can_run(self, check: Check) -> bool:
        """Whether every table that `check` reads is there; one materialised alone may stand before others."""
        read = relations_in(check.sql, check.name) & {model.table for model in self._models}
        return read <= self.ledger.fingerprints().keys()

    def refresh(self, model: Model) -> Outcome:
        """Bring a table up to date with the tables it reads.

        Raises:
            AuditError: A blocking check failed; nothing was changed.
        """
        with self._transaction():
            if not self.stands(model):
                return self._build(model)
            if self.ledger.take_pending(model) == 0:
                return self._outcome(model, 0, 0)
            replace = self._replace_keys if model.is_incremental else self._replace_all
            return self._outcome(model, *replace(model))

    def load(self, model: Model, files: Sequence[tuple[str, int]]) -> Outcome:
        """Take landed rows into a table; they stand ready in the relation that it loads from.

        Args:
            model: A model fed by landing.
            files: Path and row count of each landed file the rows came from, entered in the ledger in
                the same transaction, so that no file is ever taken in twice.

        Raises:
            AuditError: A blocking check failed; nothing was changed.
        """
        with self._transaction():
            if not self.stands(model):
                self.ledger.create(model)
            self._mark_changed(model, model.upstream)
            self.ledger.add_loads(model, files)
            return self._outcome(model, *self._replace_keys(model))

    def _build(self, model: Model) -> Outcome:
        """Compute every key of a new table."""
        if model.is_incremental:
            self._mark_changed(model, model.upstream)
        self.ledger.create(model)
        return self._outcome(model, self._fill(model), 0)

    def _replace_all(self, model: Model) -> tuple[int, int]:
        """Compute a table whose SELECT knows no changed keys; returns how many rows came and went."""
        removed = self._count(model.table)
        self._tell_readers(model, model.table)
        self._sql.execute(f"delete from {model.table}")
        self._sql.execute(f"insert into {model.table} by name {model.sql}")
        self._audit(model, model.table)
        self._tell_readers(model, model.table)
        return self._count(model.table), removed

    def _replace_keys(self, model: Model) -> tuple[int, int]:
        """Compute the changed keys' rows and replace those that differ; returns how many came and went."""
        columns = columns_of(self._sql, f"from {model.table}")
        names = [quoted(name) for name, _ in columns]
        # By rowid, because a join alone would read every column of every row to find these.
        found = f"select rowid from {model.table} semi join {CHANGED} using ({', '.join(model.keys)})"
        rows = f"select rowid as row_id, {', '.join(names)} from {model.table}"
        existing = self._make(EXISTING, f"{rows} where rowid in ({found})")
        if not self._count(model.table):
            return self._fill(model), 0
        create_empty(self._sql, "temp table computed", columns)
        ((computed,),) = self._sql.execute(f"insert into computed by name {model.sql}").fetchall()
        self._audit(model, "computed")
        unchanged = self._exchange(model, names) if existing else self._append(model)
        self._sql.execute("drop table computed")  # or it held its memory while the next rows are computed
        return computed - unchanged, existing - unchanged

    def _append(self, model: Model) -> int:
        """Put the computed rows beside those that are there: none of them is unchanged."""
        self._sql.execute(f"insert into {model.table} from computed")
        self._tell_readers(model, "computed")
        return 0

    def _exchange(self, model: Model, names: Sequence[str]) -> int:
        """Put the computed rows in the place of the existing, but for those that are the same: how many."""
        listed = ", ".join(names)
        added = f"select {listed} from computed anti join unchanged on computed.rowid = computed_id"
        removed = "from existing anti join unchanged using (row_id)"
        unchanged = self._find_unchanged(names)
        self._sql.execute(f"delete from {model.table} where rowid in (select row_id {removed})")
        self._sql.execute(f"insert into {model.table} {added}")
        # Readers that ignore nothing first, because for the others more rows are unchanged.
        for reader in sorted(self._readers(model), key=lambda reader: reader.ignores(model.table)):
            if ignored := {quoted(name) for name in reader.ignores(model.table)}:
                self._find_unchanged([name for name in names if name not in ignored])
            self.ledger.add_pending(reader, model, f"({added} union all select {listed} {removed})")
        return unchanged

    def _find_unchanged(self, names: Sequence[str]) -> int:
        """Pair the computed rows with the existing ones that have the same in these columns: how many."""
        same = " and ".join(f"computed.{name} is not distinct from existing.{name}" for name in names)
        pairs = f"select computed.rowid as computed_id, row_id from computed join existing on {same}"
        return self._make("unchanged", pairs)

    def _fill(self, model: Model) -> int:
        """Compute straight into the empty table, without the copy that a replacement needs."""
        ((added,),) = self._sql.execute(f"insert into {model.table} by name {model.sql}").fetchall()
        self._audit(model, model.table)
        self._tell_readers(model, model.table)
        return int(added)

    def _mark_changed(self, model: Model, upstream: frozenset[str]) -> None:
        keys = " union ".join(f"from {name} {model.changed_by(name)}" for name in sorted(upstream))
        self._make(CHANGED, keys)

    def _tell_readers(self, model: Model, rows: str) -> None:
        for reader in self._readers(model):
            self.ledger.add_pending(reader, model, rows)

    def _readers(self, model: Model) -> list[Model]:
        return [each for each in self._models if model.table in each.upstream and self.stands(each)]

    def _audit(self, model: Model, rows: str) -> None:
        for check in assertions(model, rows):
            run_check(self._sql, model, check)

    def _outcome(self, model: Model, added: int, replaced: int) -> Outcome:
        for check in self._checks:
            if check.model == model.table and self.can_run(check):
                run_check(self._sql, model, check)
        return Outcome(added, replaced, self._count(model.table))

    def _forget_outdated(self) -> None:
        """Drop tables whose file is gone, and reset those whose file changed since they were built."""
        built = self.ledger.fingerprints()
        for table in built.keys() - {model.table for model in self._models}:
            self.ledger.drop(table)
        self.reset([m for m in self._models if built.get(m.table, m.fingerprint) != m.fingerprint])

    def _make(self, name: str, sql: str) -> int:
        ((count,),) = self._sql.execute(f"create or replace temp table {name} as {sql}").fetchall()
        return int(count)

    def _count(self, table: str) -> int:
        ((count,),) = self._sql.execute(f"select count(*) from {table}").fetchall()
        return int(count)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("begin")
        try:
            yield
        except BaseException:
            self._sql.execute("rollback")
            raise
        self._sql.execute("commit")
