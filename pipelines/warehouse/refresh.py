"""The refresh of one table in one transaction: find the changed keys, compute, check and replace their rows.

What happens inside a table's transaction belongs here. Which tables are refreshed, in which order and in
which file does not: see `pipelines.warehouse.session`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.models.model import CHANGED, EXISTING, Check, Function, Model
from pipelines.models.sql_file import ModelError
from pipelines.warehouse.audit import CheckError, assertions, define_functions, run_check
from pipelines.warehouse.catalog import attach, columns_of, quoted
from pipelines.warehouse.change_log import ChangeLog
from pipelines.warehouse.database import transaction
from pipelines.warehouse.ledger import Ledger
from pipelines.warehouse.log_tables import COLUMNS as COLUMNS_OF_LOG
from pipelines.warehouse.sources import source_of

# The columns of our own in `existing` and `computed`.
_ROW, _COMPUTED_ROW, _EXISTING_ROW = "_row_id", "_computed_row_id", "_existing_row_id"
_OUR_COLUMNS = frozenset({"rowid", _ROW, _COMPUTED_ROW, _EXISTING_ROW}) | COLUMNS_OF_LOG


@dataclass(frozen=True)
class Refreshed:
    """The row counts of a refresh. A row that changed counts as one replaced and one added."""

    rows_added: int
    rows_replaced: int
    row_count: int


class Refresher:
    """The only writer of one open warehouse file, which refreshes its tables."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model], checks: Sequence[Check] = ()
    ) -> None:
        self._sql = connection
        self._models = tuple(models)
        self._checks = tuple(check for check in checks if check.is_blocking)
        self._created: set[str] = set()
        self.not_run: dict[str, str] = {}
        """Why checks could not be run, by their names: those on tables that load from landing."""
        self.ledger = Ledger(connection)
        self._defined: set[str] = set()
        self.log = ChangeLog(connection, models)
        for model in models:
            # DuckDB takes a function that reads a table only once that table exists.
            self._define(each for each in model.functions if not each.tables)
        self._forget_outdated()

    def stands(self, model: Model) -> bool:
        """Return whether the table of `model` exists."""
        return model.table in self.ledger.fingerprints()

    def can_run(self, check: Check) -> bool:
        """Return whether every table that `check` reads exists.

        Some do not exist yet if a table is materialised alone.
        """
        read = check.reads & {model.table for model in self._models}
        return read <= self.ledger.fingerprints().keys()

    def refresh(self, model: Model) -> Refreshed:
        """Bring a table up to date with the tables it reads.

        Raises:
            AuditError: A blocking check failed. Nothing was changed.
            CheckError: A blocking check can't be run. Nothing was changed.
        """
        self._define(model.functions)
        return self._checked_if_possible(model, lambda: self._refresh(model))

    def _refresh(self, model: Model) -> Refreshed:
        with self._transaction():
            if not self.stands(model):
                return self._build(model)
            if self.ledger.take_pending(model) == 0:
                return self._finish(model, 0, 0)
            self._refuse_missing_keys(model)
            replace = self._replace_keys if model.is_incremental else self._replace_all
            return self._finish(model, *replace(model))

    def load(self, model: Model, files: Sequence[tuple[str, int | None]]) -> Refreshed:
        """Load landed rows into a table. The caller registers them as the relation that it loads from.

        Args:
            model: A model that loads from landing.
            files: Path and row count of each landed file that the rows come from, without a count if it was
                passed over. They are recorded in the same transaction, so that no file is ever loaded twice.

        Raises:
            AuditError: A blocking check failed. Nothing was changed.
        """
        return self._checked_if_possible(model, lambda: self._load(model, files))

    def _load(self, model: Model, files: Sequence[tuple[str, int | None]]) -> Refreshed:
        with self._transaction():
            if not self.stands(model):
                self._create(model)
            self._mark_changed(model, model.upstream)
            self.ledger.add_loads(model, files)
            return self._finish(model, *self._replace_keys(model))

    def _checked_if_possible(self, model: Model, work: Callable[[], Refreshed]) -> Refreshed:
        """Do the work. If a check can't be run and the table loads from landing, do it without that check.

        Such a table would take all others with it.
        """
        while True:
            try:
                return work()
            except CheckError as error:
                if source_of(model) is None:
                    raise
                self.not_run[error.check] = str(error)
                self._checks = tuple(check for check in self._checks if check.name != error.check)

    def keep_published(self, models: Sequence[Model], published: Path | None) -> None:
        """Give the tables of `models` the rows of the published file, or drop those that it does not have."""
        if published is not None:
            attach(self._sql, published, "other")
        try:
            with self._transaction():
                theirs = self.ledger.list_others() if published is not None else set()
                for model in models:
                    self.ledger.drop(model.table)
                    if model.table in theirs:
                        self.ledger.copy_other(model)
                    self.log.note_whole(model)
        finally:
            if published is not None:
                self._sql.execute("detach other")

    def _define(self, functions: Iterable[Function]) -> None:
        new = [each for each in functions if each.definition not in self._defined]
        define_functions(self._sql, new)
        self._defined.update(each.definition for each in new)

    def _build(self, model: Model) -> Refreshed:
        """Compute every key of a new table."""
        if model.is_incremental:
            self._mark_changed(model, model.upstream)
        self._create(model)
        added = self._insert(model)
        self._audit(model, model.stored)
        self._queue_for_readers(model, model.stored)
        return self._finish(model, added, 0)

    def _replace_all(self, model: Model) -> tuple[int, int]:
        """Compute a whole table again, and return how many rows were added and how many removed."""
        removed = self._count(model.stored)
        self.log.note_whole(model)
        self._queue_for_readers(model, model.stored)
        self._sql.execute(f"delete from {model.stored}")
        added = self._insert(model)
        self._audit(model, model.stored)
        self._queue_for_readers(model, model.stored)
        return added, removed

    def _replace_keys(self, model: Model) -> tuple[int, int]:
        """Replace the rows of the changed keys, and return how many new and old rows differ.

        Computed rows are inserted directly: usually few keys had rows before, and a temporary table would be
        one more copy of each row. A computed row stays even if it equals an existing one, because removing
        it would make DuckDB write all computed rows a second time.
        """
        names = [quoted(name) for name, _ in columns_of(self._sql, f"from {model.stored}")]
        keys, listed = ", ".join(map(quoted, model.keys)), ", ".join([f"rowid as {_ROW}", *names])
        # By rowid, because a join alone would read every column of every row.
        found = f"select rowid from {model.stored} semi join {CHANGED} using ({keys})"
        existing = self._make(EXISTING, f"select {listed} from {model.stored} where rowid in ({found})")
        computed = f"(select {listed} from {model.stored} where rowid > {self._last_rowid(model.stored)})"
        added = self._insert(model)
        self._sql.execute(f"delete from {model.stored} where rowid in (select {_ROW} from {EXISTING})")
        self._audit(model, f"(select * exclude ({_ROW}) from {computed})")
        if not existing:
            self.log.note_new(model, computed)
            self._queue_for_readers(model, computed)
            return added, 0
        unchanged = self._queue_differences(model, names, computed)
        return added - unchanged, existing - unchanged

    def _queue_differences(self, model: Model, names: Sequence[str], computed: str) -> int:
        """Queue for all readers the keys that changed rows affect, and return how many rows are unchanged."""
        keys = ", ".join(map(quoted, model.keys))
        self._make("computed", f"from {computed} semi join {EXISTING} using ({keys})")
        unchanged = self._find_unchanged(names)
        listed = ", ".join(names)
        self.log.note_differences(
            model,
            computed,
            f"{_ROW} in (select {_COMPUTED_ROW} from unchanged)",
            f"(from {EXISTING} anti join unchanged on {_ROW} = {_EXISTING_ROW})",
        )
        added = f"select {listed} from {computed} anti join unchanged on {_ROW} = {_COMPUTED_ROW}"
        removed = f"select {listed} from {EXISTING} anti join unchanged on {_ROW} = {_EXISTING_ROW}"
        # Readers that ignore nothing come first: for the others, more rows count as unchanged.
        for reader in sorted(self._readers(model), key=lambda reader: reader.ignores(model.table)):
            if ignored := {quoted(name) for name in reader.ignores(model.table)}:
                self._find_unchanged([name for name in names if name not in ignored])
            self.ledger.add_pending(reader, model, f"({added} union all {removed})")
        return unchanged

    def _find_unchanged(self, names: Sequence[str]) -> int:
        """Pair computed and existing rows that are equal in these columns, and return the number of pairs."""
        same = " and ".join(f"computed.{name} is not distinct from existing.{name}" for name in names)
        ids = f"computed.{_ROW} as {_COMPUTED_ROW}, existing.{_ROW} as {_EXISTING_ROW}"
        return self._make("unchanged", f"select {ids} from computed join existing on {same}")

    def _create(self, model: Model) -> None:
        self.ledger.create(model)
        self.log.note_whole(model)
        self._created.add(model.table)
        for name, _ in columns_of(self._sql, f"from {model.stored}"):
            if name.lower() in _OUR_COLUMNS:
                raise ModelError(
                    f"{model.table} was not updated: {model.where('columns')} names a column `{name}`, which "
                    "is how rows are numbered and compared here. Give it another name."
                )

    def _insert(self, model: Model) -> int:
        if model.table in self._created:
            self._created.remove(model.table)
            self._refuse_unselected_columns(model)
        ((added,),) = self._sql.execute(f"insert into {model.stored} by name {model.sql}").fetchall()
        return int(added)

    def _refuse_unselected_columns(self, model: Model) -> None:
        """Refuse a column that would stay null because only the header knows it."""
        selected = {name.lower() for name, _ in columns_of(self._sql, model.sql)}
        for column in model.columns:
            if column.name.lower() not in selected:
                raise ModelError(
                    f"{model.table} was not updated: {model.where('columns')} describes the column "
                    f"`{column.name}`, which the SELECT does not give. Select it, or remove its line."
                )

    def _refuse_missing_keys(self, model: Model) -> None:
        """Refuse rows whose key is null, unless the header says that the table has none of them.

        No join finds such a row again, so it would be left out, or be there twice.
        """
        optional = set(model.keys) - set(model.listed("not null")) if model.is_incremental else set()
        for key in sorted(optional):
            if self._sql.execute(f"select 1 from {CHANGED} where {quoted(key)} is null limit 1").fetchall():
                raise ModelError(
                    f"{model.table} was not updated: its key `{key}` is null in rows that it reads, and rows "
                    f"are found by their keys. Leave these rows out of {model.where('grain')}, and add "
                    f"`{key}` to its `not null:`."
                )

    def _last_rowid(self, table: str) -> int:
        """Return the highest rowid, or -1 if there is no row. Rows inserted later have higher ones."""
        # The highest rowid is at least the row count minus 1, and DuckDB skips all rows with lower ones.
        sql = f"select coalesce(max(rowid), -1) from {table} where rowid >= {self._count(table) - 1}"
        ((last,),) = self._sql.execute(sql).fetchall()
        return int(last)

    def _mark_changed(self, model: Model, upstream: frozenset[str]) -> None:
        stored = {each.table: each.stored for each in self._models}
        keys = " union ".join(
            f"from {stored.get(name, name)} {model.changed_by(name)}" for name in sorted(upstream)
        )
        self._make(CHANGED, keys)
        self._refuse_missing_keys(model)

    def _queue_for_readers(self, model: Model, rows: str) -> None:
        for reader in self._readers(model):
            self.ledger.add_pending(reader, model, rows)

    def _readers(self, model: Model) -> list[Model]:
        return [each for each in self._models if model.table in each.upstream and self.stands(each)]

    def _audit(self, model: Model, rows: str) -> None:
        for check in assertions(model, rows):
            run_check(self._sql, model, check)

    def _finish(self, model: Model, added: int, replaced: int) -> Refreshed:
        for check in self._checks:
            if check.model == model.table and self.can_run(check):
                run_check(self._sql, model, check)
        return Refreshed(added, replaced, self._count(model.stored))

    def _forget_outdated(self) -> None:
        """Drop tables whose SQL file is gone, and those made by other code than today's."""
        for table in self.ledger.fingerprints().keys() - {model.table for model in self._models}:
            self.ledger.drop(table)
        self._forget(self.ledger.list_outdated(self._models))

    def _forget(self, models: Sequence[Model]) -> None:
        """Drop the tables of `models` and of all that reads them, to be built again from what they read."""
        outdated = {model.table for model in models}
        for model in self._models:  # each stands after what it reads, so one pass reaches everything
            if model.table in outdated or model.upstream & outdated:
                outdated.add(model.table)
        with self._transaction():
            for table in outdated:
                self.ledger.drop(table)

    def _make(self, name: str, sql: str) -> int:
        ((count,),) = self._sql.execute(f"create or replace temp table {name} as {sql}").fetchall()
        return int(count)

    def _count(self, table: str) -> int:
        ((count,),) = self._sql.execute(f"select count(*) from {table}").fetchall()
        return int(count)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with transaction(self._sql):
                yield
        except BaseException:
            self.ledger.forget()
            self.log.forget()
            raise
