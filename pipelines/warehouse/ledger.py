"""The bookkeeping of one warehouse file, in its schema `ops`.

It records which tables exist and what they were built from, which landed files each has loaded, and which
keys are queued to be computed again. How rows are computed does not belong here: see
`pipelines.warehouse.refresh`.

- `ops.models`: one row per table, with the fingerprint of the SQL file it was built from, and a digest of the
  reader by which its rows were loaded.
- `ops.loads`: one row per table and landed file that it has loaded, with the file's row count. The count is
  null for a file that was passed over, because it is no file of ours or a copy of one.
- `ops.days`: one row per table and day's folder of which it has loaded all files, with a mark of the folder's
  content at that time. While the mark fits, those files are not looked up again. So do merged files, with
  their path in place of the folder.
- `ops.pending_<model>`: queued keys of a table, because rows that it reads have changed. They are written in
  the transaction of that change, and deleted in the transaction that computes their rows. So if a step fails
  or is never run, a later run does its work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from connector.landing.zones import EVENTS
from pipelines.models.model import CHANGED, Model
from pipelines.models.relations import STORED
from pipelines.models.rule import RULES
from pipelines.models.sql_file import ModelError
from pipelines.warehouse.catalog import attach, create_empty, qualified
from pipelines.warehouse.reader import reader_digest
from pipelines.warehouse.sources import source_of
from pipelines.warehouse.tables import copy_table, create_table, drop_table


@dataclass(frozen=True)
class Ahead:
    """The row counts of another warehouse file, and the landed files that only that file has loaded."""

    row_counts: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[str, frozenset[str]] = field(default_factory=dict)


# Paths are not compared for days that both files have loaded completely, with the same mark.
_ONLY_OTHERS = """
    with same as (
        select model, day from ops.days semi join other.ops.days using (model, day, mark)
    ),

    ours as (
        select model, path from ops.loads anti join same using (model, day)
    ),

    theirs as (
        select model, path from other.ops.loads anti join same using (model, day) where row_count is not null
    )

    select model, list(path) from theirs anti join ours using (model, path) group by model
"""


_COLUMNS = {
    "loads": {"model": "varchar", "day": "varchar", "path": "varchar", "row_count": "bigint"},
    "days": {"model": "varchar", "day": "varchar", "mark": "varchar"},
}

_NAMES = """
    select list(column_name order by column_index)
    from duckdb_columns()
    where database_name = current_database() and schema_name = 'ops' and table_name = $name
    group by all
"""

_CLEARING = """
    select 'drop schema "' || schema_name || '" cascade'
    from duckdb_schemas()
    where database_name = current_database() and not internal and schema_name <> 'main'
    union all
    select 'drop table main."' || replace(table_name, '"', '""') || '"'
    from duckdb_tables()
    where database_name = current_database() and schema_name = 'main'
    union all
    select 'drop view main."' || replace(view_name, '"', '""') || '"'
    from duckdb_views()
    where database_name = current_database() and schema_name = 'main' and not internal
"""

FIRST_READER = "722179fdc6bb45f82612c63078ea4fb076a76dc11318ba8ba9b801238141a819"
"""The digest of the reader that loaded every table before tables named their reader."""

_THEIR_TABLES = f"""
    select model
    from other.ops.models
    where model in (
        select if(schema_name in ('main', '{STORED}'), table_name, schema_name || '.' || table_name)
        from duckdb_tables()
        where database_name = 'other'
    )
"""


class Ledger:
    """The bookkeeping of one connection. Every method works in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._sql = connection
        self._fingerprints: dict[str, str] | None = None
        self._clear_if_unknown()
        for schema in ("ops", STORED):
            self._sql.execute(f"create schema if not exists {schema}")
        self._sql.execute("create table if not exists ops.models (model varchar, fingerprint varchar)")
        self._sql.execute("alter table ops.models add column if not exists reader varchar")
        for name, columns in _COLUMNS.items():
            listed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
            self._sql.execute(f"create table if not exists ops.{name} ({listed})")

    def _clear_if_unknown(self) -> None:
        """Empty a file whose bookkeeping another version made, so that it is built again from landing."""
        if all(
            self._sql.execute(_NAMES, {"name": name}).fetchall() in ([], [(list(columns),)])
            for name, columns in _COLUMNS.items()
        ):
            return
        statements = [statement for (statement,) in self._sql.execute(_CLEARING).fetchall()]
        self._sql.execute("; ".join(["begin", *statements, "commit"]))

    def fingerprints(self) -> dict[str, str]:
        """Return the tables that exist, with the fingerprint that each was built from."""
        if self._fingerprints is None:  # a session calls this hundreds of times
            self._fingerprints = dict(
                self._sql.execute("select model, fingerprint from ops.models").fetchall()
            )
        return self._fingerprints

    def list_outdated(self, models: Sequence[Model]) -> list[Model]:
        """List the models whose table was made by another SQL file, or loaded by another reader."""
        # Tables that name no reader were made before readers were entered, when this was the only one.
        self._sql.execute("update ops.models set reader = ? where reader is null", [FIRST_READER])
        made_by = self._sql.execute("select model, fingerprint, reader from ops.models").fetchall()
        built = {table: (fingerprint, reader) for table, fingerprint, reader in made_by}
        return [
            model for model in models if model.table in built and _is_outdated(model, *built[model.table])
        ]

    def forget(self) -> None:
        """Forget what was read in a transaction that is undone."""
        self._fingerprints = None

    def add_loads(self, model: Model, files: Sequence[tuple[str, int | None]]) -> None:
        """Record landed files as loaded, each given as path and row count, or as passed over without one."""
        days = [path.rpartition("/")[0] for path, _ in files]
        self._sql.execute(
            "insert into ops.loads select ?, unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::bigint[])",
            [model.table, days, [path for path, _ in files], [row_count for _, row_count in files]],
        )

    def add_days(self, model: Model, marks: Mapping[str, str]) -> None:
        """Record days, and merged files in them, of which `model` has loaded all files, with their marks.

        The merged files that these days held before are forgotten.
        """
        days = list(marks)
        self._sql.execute(
            "delete from ops.days where model = $model and list_contains($days, day)"
            " or model = $model and ends_with(day, '.parquet') and list_contains($days, parse_dirpath(day))",
            {"model": model.table, "days": days},
        )
        self._sql.execute(
            "insert into ops.days select ?, unnest(?::varchar[]), unnest(?::varchar[])",
            [model.table, days, list(marks.values())],
        )

    def create(self, model: Model) -> None:
        """Create the empty table, and record it."""
        self.drop(model.table)
        if model.table == f"{RULES}.{model.name}":
            self._sql.execute(f"create schema if not exists {RULES}")
        types = create_table(self._sql, model)
        if missing := [key for key in (*model.grain, *model.keys) if key not in types]:
            raise ModelError(
                f"{model.table} was not updated: it has no column `{missing[0]}`, which the `grain:` or "
                f"the `keys:` of {model.where('grain')} names. Select it, or fix the header."
            )
        keys = [(key, types[key]) for key in model.keys] if model.is_incremental else [("stale", "boolean")]
        create_empty(self._sql, f"table {_pending(model.table)}", keys)
        self._sql.execute(
            "insert into ops.models values (?, ?, ?)", [model.table, model.fingerprint, reader_digest()]
        )
        self._fingerprints = None

    def list_others(self) -> set[str]:
        """List the tables of the attached file `other`."""
        return {table for (table,) in self._sql.execute(_THEIR_TABLES).fetchall()}

    def copy_other(self, model: Model) -> None:
        """Copy a table as people see it in `other`. The next session builds it again."""
        if model.table == f"{RULES}.{model.name}":
            self._sql.execute(f"create schema if not exists {RULES}")
        copy_table(self._sql, model)
        self._sql.execute("insert into ops.models values (?, '', ?)", [model.table, reader_digest()])

    def drop(self, table: str) -> None:
        """Drop a table, with everything recorded about it."""
        drop_table(self._sql, table)
        self._sql.execute(f"drop table if exists {_pending(table)}")
        self._sql.execute("delete from ops.models where model = ?", [table])
        self._sql.execute("delete from ops.loads where model = ?", [table])
        self._sql.execute("delete from ops.days where model = ?", [table])
        self._fingerprints = None

    def add_pending(self, reader: Model, upstream: Model, rows: str) -> None:
        """Queue the keys of `reader` that the changed `rows` of `upstream` affect."""
        keys = reader.changed_by(upstream.table) if reader.is_incremental else "select true"
        self._sql.execute(f"insert into {_pending(reader.table)} select distinct * from (from {rows} {keys})")

    def take_pending(self, model: Model) -> int:
        """Move the queued keys of `model` into the relation `changed`, and return their count."""
        pending = _pending(model.table)
        rows = self._sql.execute(
            f"create or replace temp table {CHANGED} as select distinct * from {pending}"
        )
        (count,) = rows.fetchall()[0]
        self._sql.execute(f"delete from {pending}")
        return int(count)


def ahead_of(connection: duckdb.DuckDBPyConnection, path: Path) -> Ahead:
    """Return what the warehouse file `path` has and the open one may lack."""
    attach(connection, path, "other")
    try:
        tables = [name for (name,) in connection.execute(_THEIR_TABLES).fetchall()]
        counts = [f"select '{table}', count(*) from other.{qualified(table)}" for table in tables]
        row_counts = connection.execute(" union all ".join(counts)).fetchall() if counts else []
        paths = connection.execute(_ONLY_OTHERS).fetchall()
    finally:
        connection.execute("detach other")
    return Ahead(dict(row_counts), {table: frozenset(listed) for table, listed in paths})


def _is_outdated(model: Model, fingerprint: str, reader: str) -> bool:
    source = source_of(model)
    is_read = source is not None and source.zone is EVENTS  # answers are loaded as they are
    return fingerprint != model.fingerprint or (is_read and reader != reader_digest())


def _pending(table: str) -> str:
    return f"ops.pending_{table.replace('.', '_')}"
