"""The log of the published file, carried into the file that is published in its place.

Warehouse files take turns: see `pipelines.warehouse.change_log` for what that means. Noting changes does not
belong here.

The temporary tables have names that no model can have: a temporary table is found before a table of its name,
also as `main.name`.
"""

from collections.abc import Sequence

import duckdb

from pipelines.models.model import Model
from pipelines.warehouse.catalog import alike, qualified, quoted
from pipelines.warehouse.changes import identity_of, typed_keys
from pipelines.warehouse.log_tables import WHOLE, entry_of, existing_columns

_OURS, _THEIRS, _LEFT_BEHIND = '"log: ours"', '"log: theirs"', '"log: left behind"'

# Of several entries of a key, the newest digest counts, and all days do.
_NEWEST = """
    create or replace temp table {name} as
    select model, key, list_distinct(flatten(list(days))) as days, arg_max(digest, {order}) as digest
    from {source}
    group by model, key
"""

# The digest of a row that is not there.
_NO_ROWS = "hash(null)"

_DIFFERENT = f"""
    insert into ops.changes
    select $number, model, key, list_distinct(list_concat(ours.days, theirs.days)), ours.digest
    from {_OURS} as ours
    left join {_THEIRS} as theirs using (model, key)
    where ours.digest is distinct from theirs.digest
"""


def carry_log(connection: duckdb.DuckDBPyConnection, models: Sequence[Model], since: int | None) -> int:
    """Complete the log of this file by that of the published one, which is attached as `other`.

    Args:
        connection: This file, in a transaction of the caller.
        models: The public models.
        since: The newest publish that both files know, None if there is none.

    Returns:
        The number of the publish that this file becomes.
    """
    return _Carrying(connection, models, since).carry()


class _Carrying:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, models: Sequence[Model], since: int | None
    ) -> None:
        self._sql = connection
        self._models = models
        self._since = since

    def carry(self) -> int:
        if self._since is None:
            for name in ("changes", "publishes"):
                self._sql.execute(f"delete from ops.{name}")
        ((last,),) = self._sql.execute("select max(number) from other.ops.publishes").fetchall()
        number = int(last) + 1
        newer = f"where number > {self._since or 0}"
        self._sql.execute(_NEWEST.format(name=_OURS, source="ops.changing", order="rowid"))
        self._sql.execute(_NEWEST.format(name=_THEIRS, source=f"other.ops.changes {newer}", order="number"))
        whole = {table for name in (_OURS, _THEIRS) for table in self._list(WHOLE.format(name=name))}
        left_behind = self._list(f"select distinct model from {_THEIRS} anti join {_OURS} using (model, key)")
        for model in self._models:
            if self._since is None or model.table in whole:
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
        for name in (_OURS, _THEIRS):
            self._sql.execute(f"delete from {name} where model = ?", [model.table])
        if not (ours := existing_columns(self._sql, qualified(model.stored))):
            return
        # A table that is held back may lack what its header names today.
        is_named = set(identity_of(model)) <= {name for name, _ in ours}
        if not is_named or sorted(ours) != sorted(
            existing_columns(self._sql, f"other.{qualified(model.stored)}")
        ):
            self._sql.execute("insert into ops.changes values (?, ?, [], null, null)", [number, model.table])
            return
        keys, grouped = entry_of(self._sql, model)
        identity = identity_of(model)
        chosen = "".join(
            f"coalesce(ours.{name}, theirs.{name}) as {name}, " for name in map(quoted, identity)
        )
        self._sql.execute(
            f"""
            insert into ops.changes
            with {_OURS} as (select {grouped} from {qualified(model.stored)} group by all),
            {_THEIRS} as (select {grouped} from other.{qualified(model.stored)} group by all),
            "log: differing" as (
                select {chosen}
                    list_distinct(list_concat(ours._days, theirs._days)) as _days,
                    coalesce(ours._digest, {_NO_ROWS}) as _digest
                from {_OURS} as ours full join {_THEIRS} as theirs on {alike("ours", "theirs", identity)}
                where ours._digest is distinct from theirs._digest
            )
            select {number}, '{model.table}', {keys}, _days, _digest from "log: differing"
            """
        )

    def _look_up(self, model: Model) -> None:
        """Digest the rows of keys that changed in the published file and not in this one.

        Either a key is as it was before both, or the log names it without need.
        """
        self._sql.execute(
            f"create or replace temp table {_LEFT_BEHIND} as"
            f" from {_THEIRS} anti join {_OURS} using (model, key) select key where model = ?",
            [model.table],
        )
        keys, grouped = entry_of(self._sql, model)
        behind = typed_keys(self._sql, model, _LEFT_BEHIND)
        rows = f"{qualified(model.stored)} as found semi join ({behind}) as behind"
        on = alike("found", "behind", identity_of(model))
        self._sql.execute(
            f'insert into {_OURS} with "log: found" as (select {grouped} from {rows} on {on} group by all),'
            f' "log: entries" as (select {keys} as key, _days, _digest from "log: found")'
            f" select '{model.table}', key, _days, coalesce(_digest, {_NO_ROWS})"
            f' from {_LEFT_BEHIND} left join "log: entries" using (key)'
        )

    def _list(self, sql: str) -> set[str]:
        return {name for (name,) in self._sql.execute(sql).fetchall()}
