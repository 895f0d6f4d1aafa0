"""What changed from publish to publish, so that readers such as exports cost what is new.

Noting changed rows, and completing the log when a file is published, belongs here. How it is carried from
file to file does not: see `pipelines.warehouse.carried_log`. Reading it does not either: see
`pipelines.warehouse.changes`.

Warehouse files take turns, so what one of them changes in its turn is not what readers see change. This file
last knew publish 5, another one was published as 6 meanwhile, and this one becomes 7. The log of 6 gives the
keys that differ between 5 and 6, with a digest of their rows at 6; this file noted those that differ between
5 and 7, with a digest at 7. Together they give exactly the keys that differ between 6 and 7.

- `ops.changing`: keys that changed in this file since its own last publish, written in the transaction of the
  change. An empty key stands for the whole table: it was built or replaced, and is compared row by row with
  the published one when this file is published.
- `ops.changes`: for each publish, the keys of the rows that changed with it. `days` are the days of their old
  and new rows, in tables with a column `day`. An empty key says that the whole table may have changed.
- `ops.publishes`: the publishes whose changes the log holds completely from there on. Numbers count; ids are
  random, because a warehouse that was restored from a backup gives the same numbers to other tables.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

import duckdb

from pipelines.models.model import Model
from pipelines.warehouse.carried_log import carry_log
from pipelines.warehouse.catalog import attach, create_empty
from pipelines.warehouse.changes import Publish, is_logged, newest_publish
from pipelines.warehouse.database import is_damage, transaction
from pipelines.warehouse.log_tables import TABLES, WHOLE, entry_of, existing_columns

_MOST_CHANGES = 1_000_000
_MOST_PUBLISHES = 100_000

# The newest publish up to which the log may be forgotten.
_CUT = """
    select coalesce(max(number), 0)
    from (select number, sum(count(*)) over (order by number desc) as kept from ops.changes group by number)
    where kept > $most_kept
"""


class ChangeLog:
    """The log of one open warehouse file. Notes are made in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model]) -> None:
        self._sql = connection
        self._models = [model for model in models if is_logged(model)]
        self._whole: set[str] | None = None
        self._since: int | None = None
        for name, columns in TABLES.items():
            if existing_columns(self._sql, f"ops.{name}") != [
                (column, kind.upper()) for column, kind in columns.items()
            ]:
                create_empty(connection, f"table ops.{name}", list(columns.items()))

    def forget(self) -> None:
        """Forget what was read in a transaction that is undone."""
        self._whole = None

    def note_whole(self, model: Model) -> None:
        """Note that a table was built, replaced or taken from another file."""
        if is_logged(model):
            self._sql.execute("delete from ops.changing where model = ?", [model.table])
            self._sql.execute("insert into ops.changing values (?, [], null, null)", [model.table])
            self._whole = None

    def note_new(self, model: Model, rows: str) -> None:
        """Note the keys of new `rows`, none of which had rows before."""
        self._note(model, f"select true as _is_new, true as _differs, * from {rows}")

    def note_differences(self, model: Model, computed: str, unchanged: str, existing: str) -> None:
        """Note the keys whose computed rows differ from the existing ones.

        Args:
            model: The table's model.
            computed: All computed rows.
            unchanged: The condition by which a computed row is also an existing one.
            existing: The existing rows that no computed row equals.
        """
        self._note(
            model,
            f"select true as _is_new, not ({unchanged}) as _differs, * from {computed}"
            f" union all by name select false as _is_new, true as _differs, * from {existing}",
        )

    def _note(self, model: Model, rows: str) -> None:
        if not is_logged(model) or model.table in self._tables_noted_whole():
            return
        keys, grouped = entry_of(self._sql, model, "filter (_is_new)")
        self._sql.execute(
            f"insert into ops.changing select '{model.table}', {keys}, _days, _digest"
            f" from (select {grouped} from ({rows}) group by all having bool_or(_differs))"
        )

    def _tables_noted_whole(self) -> set[str]:
        if self._whole is None:
            found = self._sql.execute(WHOLE.format(name="ops.changing")).fetchall()
            self._whole = {table for (table,) in found}
        return self._whole

    def open(self, published: Path | None) -> None:
        """Find out which publish this file last knew, before anything in it changes.

        If it was made ready for a publish that never happened, that is no publish of the published file, and
        the tables are compared as a whole.
        """
        with self._beside(published) as has_log:
            newest = newest_publish(self._sql) if has_log else None
            self._since = newest.number if newest and self._is_theirs(newest) else None

    def close(self, published: Path | None, publish_id: UUID, published_at: datetime) -> None:
        """Complete the log for the publish of this file in place of `published`, or begin a new one."""
        try:
            self._close(published, publish_id, published_at)
        except duckdb.Error as error:
            if published is None or not is_damage(error):
                raise
            self._close(None, publish_id, published_at)

    def _close(self, published: Path | None, publish_id: UUID, published_at: datetime) -> None:
        with self._beside(published) as has_log, transaction(self._sql):
            if not has_log:
                for name in TABLES:
                    self._sql.execute(f"delete from ops.{name}")
                number = 1
            else:
                number = carry_log(self._sql, self._models, self._since)
            self._sql.execute(
                "insert into ops.publishes values (?, ?, ?)", [number, publish_id, published_at]
            )
            self._forget_old(number)
        self._whole = None

    def _is_theirs(self, publish: Publish) -> bool:
        found = self._sql.execute(
            "select 1 from other.ops.publishes where number = ? and id = ?", [publish.number, publish.id]
        )
        return bool(found.fetchall())

    def _forget_old(self, number: int) -> None:
        ((changes, publishes),) = self._sql.execute(
            "select (select count(*) from ops.changes), (select count(*) from ops.publishes)"
        ).fetchall()
        if changes <= _MOST_CHANGES and publishes <= _MOST_PUBLISHES:
            return
        # half of it, so that not every publish has something to forget
        ((cut,),) = self._sql.execute(_CUT, {"most_kept": _MOST_CHANGES // 2}).fetchall()
        cut = max(cut, number - _MOST_PUBLISHES // 2)
        self._sql.execute("delete from ops.changes where number <= ?", [cut])
        self._sql.execute("delete from ops.publishes where number < ?", [cut])

    def _list(self, sql: str) -> list[str]:
        return [name for (name,) in self._sql.execute(sql).fetchall()]

    @contextmanager
    def _beside(self, published: Path | None) -> Iterator[bool]:
        """Attach the published file as `other`. Yield whether it has a log."""
        if published is None:
            yield False
            return
        attach(self._sql, published, "other")
        try:
            yield self._has_log()
        finally:
            self._sql.execute("detach other")

    def _has_log(self) -> bool:
        are_alike = all(
            existing_columns(self._sql, f"other.ops.{name}") == existing_columns(self._sql, f"ops.{name}")
            for name in TABLES
        )
        return are_alike and bool(self._sql.execute("select 1 from other.ops.publishes limit 1").fetchall())
