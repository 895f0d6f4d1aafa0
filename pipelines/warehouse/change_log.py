"""What changed from publish to publish, so that readers such as exports cost what is new.

Noting changed rows, and carrying the log from file to file, belongs here. Reading it does not: see
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
from pipelines.warehouse.catalog import attach, columns_of, create_empty, qualified, quoted
from pipelines.warehouse.changes import DAY, Publish, identity_of, is_public, newest_publish, typed_keys
from pipelines.warehouse.database import is_damage

_MOST_CHANGES = 1_000_000
_MOST_PUBLISHES = 100_000

_ENTRY = {"model": "varchar", "key": "varchar[]", "days": "date[]", "digest": "ubigint"}
_TABLES = {
    "changing": _ENTRY,
    "changes": {"number": "bigint"} | _ENTRY,
    "publishes": {"number": "bigint", "id": "uuid", "published_at": "timestamp with time zone"},
}

# Of several entries of a key, the newest digest counts, and all days do.
_NEWEST = """
    create or replace temp table {name} as
    select model, key, list_distinct(flatten(list(days))) as days, arg_max(digest, {order}) as digest
    from {source}
    group by model, key
"""

# The digest of a row that is not there.
_NO_ROWS = "hash(null)"

_WHOLE = "select distinct model from {name} where len(key) = 0"

_LEFT_BEHIND = "select distinct model from theirs anti join ours using (model, key)"

_DIFFERENT = """
    insert into ops.changes
    select $number, model, key, list_distinct(list_concat(ours.days, theirs.days)), ours.digest
    from ours
    left join theirs using (model, key)
    where ours.digest is distinct from theirs.digest
"""

# The newest publish up to which the log may be forgotten.
_CUT = """
    select coalesce(max(number), 0)
    from (select number, sum(count(*)) over (order by number desc) as kept from ops.changes group by number)
    where kept > $most_kept
"""


# A table that is missing would end the transaction.
_COLUMNS = """
    select column_name, data_type
    from duckdb_columns()
    where database_name = if($database = 'current', current_database(), $database)
        and schema_name = $schema and table_name = $name
    order by column_index
"""


class ChangeLog:
    """The log of one open warehouse file. Notes are made in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model]) -> None:
        self._sql = connection
        self._models = [model for model in models if is_public(model)]
        self._whole: set[str] | None = None
        self._since: int | None = None
        for name, columns in _TABLES.items():
            if self._columns(f"ops.{name}") != [(column, kind.upper()) for column, kind in columns.items()]:
                create_empty(connection, f"table ops.{name}", list(columns.items()))

    def roll_back(self) -> None:
        """Forget what was read in a transaction that is undone."""
        self._whole = None

    def note_whole(self, model: Model) -> None:
        """Note that a table was built, replaced or taken from another file."""
        if is_public(model):
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
        if not is_public(model) or model.table in self._tables_noted_whole():
            return
        keys, grouped = _entry_of(self._sql, model, "filter (_is_new)")
        self._sql.execute(
            f"insert into ops.changing select '{model.table}', {keys}, _days, _digest"
            f" from (select {grouped} from ({rows}) group by all having bool_or(_differs))"
        )

    def _tables_noted_whole(self) -> set[str]:
        if self._whole is None:
            found = self._sql.execute(_WHOLE.format(name="ops.changing")).fetchall()
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
        with self._beside(published) as has_log, self._transaction():
            if not has_log:
                for name in _TABLES:
                    self._sql.execute(f"delete from ops.{name}")
                number = 1
            else:
                number = self._continue_log()
            self._sql.execute(
                "insert into ops.publishes values (?, ?, ?)", [number, publish_id, published_at]
            )
            self._forget_old(number)
        self._whole = None

    def _continue_log(self) -> int:
        since = self._since
        if since is None:
            for name in ("changes", "publishes"):
                self._sql.execute(f"delete from ops.{name}")
        ((last,),) = self._sql.execute("select max(number) from other.ops.publishes").fetchall()
        number = int(last) + 1
        newer = f"where number > {since or 0}"
        self._sql.execute(_NEWEST.format(name="ours", source="ops.changing", order="rowid"))
        self._sql.execute(_NEWEST.format(name="theirs", source=f"other.ops.changes {newer}", order="number"))
        whole = {table for name in ("ours", "theirs") for table in self._list(_WHOLE.format(name=name))}
        left_behind = set(self._list(_LEFT_BEHIND))
        for model in self._models:
            if since is None or model.table in whole:
                self._compare(model, number)
            elif model.table in left_behind:
                self._look_up(model)
        self._sql.execute(_DIFFERENT, {"number": number})
        for name in ("changes", "publishes"):
            self._sql.execute(f"insert into ops.{name} from other.ops.{name} {newer}")
        self._sql.execute("delete from ops.changing")
        return number

    def _compare(self, model: Model, number: int) -> None:
        """Log the keys whose rows differ from those of the published table."""
        for name in ("ours", "theirs"):
            self._sql.execute(f"delete from {name} where model = ?", [model.table])
        if not (ours := self._columns(qualified(model.stored))):
            return
        # A table that is held back may lack what its header names today.
        is_named = set(identity_of(model)) <= {name for name, _ in ours}
        if not is_named or sorted(ours) != sorted(self._columns(f"other.{qualified(model.stored)}")):
            self._sql.execute("insert into ops.changes values (?, ?, [], null, null)", [number, model.table])
            return
        keys, grouped = _entry_of(self._sql, model)
        names = [*map(quoted, identity_of(model))]
        same = " and ".join(f"ours.{name} is not distinct from theirs.{name}" for name in names)
        chosen = "".join(f"coalesce(ours.{name}, theirs.{name}) as {name}, " for name in names)
        self._sql.execute(
            f"""
            insert into ops.changes
            with ours as (select {grouped} from {qualified(model.stored)} group by all),
            theirs as (select {grouped} from other.{qualified(model.stored)} group by all),
            differing as (
                select {chosen}
                    list_distinct(list_concat(ours._days, theirs._days)) as _days,
                    coalesce(ours._digest, {_NO_ROWS}) as _digest
                from ours full join theirs on {same or "true"}
                where ours._digest is distinct from theirs._digest
            )
            select {number}, '{model.table}', {keys}, _days, _digest from differing
            """
        )

    def _look_up(self, model: Model) -> None:
        """Digest the rows of keys that changed in the published file and not in this one.

        Either a key is as it was before both, or the log names it without need.
        """
        self._sql.execute(
            "create or replace temp table left_behind as"
            " from theirs anti join ours using (model, key) select key where model = ?",
            [model.table],
        )
        keys, grouped = _entry_of(self._sql, model)
        rows = (
            f"{qualified(model.stored)} semi join ({typed_keys(self._sql, model, 'left_behind')}) as behind"
        )
        using = ", ".join(map(quoted, identity_of(model)))
        self._sql.execute(
            f"insert into ours with found as (select {grouped} from {rows} using ({using}) group by all),"
            f" entries as (select {keys} as key, _days, _digest from found)"
            f" select '{model.table}', key, _days, coalesce(_digest, {_NO_ROWS})"
            " from left_behind left join entries using (key)"
        )

    def _columns(self, table: str) -> list[tuple[str, str]]:
        """Return the names and types of a table's columns, empty if there is no such table."""
        database, schema, name = ("current", *table.split("."))[-3:]
        found = self._sql.execute(_COLUMNS, {"database": database, "schema": schema, "name": name})
        return found.fetchall()

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
            self._columns(f"other.ops.{name}") == self._columns(f"ops.{name}") for name in _TABLES
        )
        return are_alike and bool(self._sql.execute("select 1 from other.ops.publishes limit 1").fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("begin")
        try:
            yield
            self._sql.execute("commit")
        except BaseException:
            self._sql.execute("rollback")
            raise


def _entry_of(connection: duckdb.DuckDBPyConnection, model: Model, is_new: str = "") -> tuple[str, str]:
    """Return the SQL of a key as the log holds it, and the columns of its entry, grouped by key."""
    columns = columns_of(connection, f"from {qualified(model.stored)}")
    keys = [quoted(key) for key in identity_of(model)]
    days = f"list(distinct {DAY}) filter ({DAY} is not null)" if (DAY, "DATE") in columns else "null::date[]"
    names = ", ".join(quoted(name) for name, _ in sorted(columns))
    digest = f"hash(sum(hash({names})) {is_new})"
    entry = [*keys, f"{days} as _days", f"{digest} as _digest"]
    return f"[{', '.join(f'{key}::varchar' for key in keys)}]::varchar[]", ", ".join(entry)
