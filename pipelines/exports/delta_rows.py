"""What a Delta table has: its columns and rows, and which of them a change is about.

Only reading belongs here. Commits do not: see `pipelines.exports.delta`.
"""

from collections.abc import Callable
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exports.change import ROWS_AT_ONCE, Change, Render, Table
from pipelines.exports.lake_types import cast, render, schema_of
from pipelines.warehouse.catalog import quoted
from pipelines.warehouse.changes import DAY

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MOST_KEYS = 20_000  # they are named in the commit


def keys_of(change: Change, rows: Callable[[Render], pa.RecordBatchReader]) -> pa.Table:
    """Return the grain of rows of a change."""
    grain = change.table.grain
    schema = schema_of(column for column in change.table.columns if column.name in grain)
    reader = rows(lambda column: render(column) if column.name in grain else "null")
    return pa.Table.from_batches(cast(reader, schema), schema)


def are_new(keys: pa.Table, copy: "DeltaTable") -> bool:
    """Return whether a copy has no row of these keys, so that theirs can be appended."""
    alike = reduce(and_, (pc.field(name).isin(pc.unique(keys[name])) for name in keys.column_names))
    scanner = copy.to_pyarrow_dataset().scanner(
        columns=keys.column_names, filter=alike, batch_size=ROWS_AT_ONCE
    )
    return bool(scanner.head(1).num_rows == 0)


def condition_of(keys: pa.Table, gone: pa.Table) -> str | None:
    """Return the SQL, of the library, that is true for rows of these keys. None if there is no short one."""
    both = pa.concat_tables([keys, gone])
    if both.num_columns != 1 or both.num_rows > _MOST_KEYS or both.schema.types != [pa.string()]:
        return None
    listed = ", ".join("'" + key.replace("'", "''") + "'" for key in both[0].to_pylist())
    return f"{quoted(both.column_names[0])} in ({listed})"


def read_copy(copy: "DeltaTable", table: Table) -> pa.RecordBatchReader:
    """Read all rows of a copy, with the columns of its table."""
    rows = copy.to_pyarrow_dataset().scanner(batch_size=ROWS_AT_ONCE).to_reader()
    return cast(rows, schema_of(table.columns))


def has_columns(copy: "DeltaTable", table: Table) -> bool:
    """Return whether a copy has the columns of a table, with their types, in partitions as we make them."""
    there = copy.to_pyarrow_dataset().schema
    is_alike = all(
        field.name in there.names and there.field(field.name).type == field.type
        for field in schema_of(table.columns)
    )
    return is_alike and copy.metadata().partition_columns == ([DAY] if table.has_day else [])


def schema_for(table: Table, copy: "DeltaTable | None") -> pa.Schema:
    """Return the columns of a table, and those that its copy had once, which are null from now on."""
    schema = schema_of(table.columns)
    names = {name.lower() for name in schema.names}  # readers don't tell large letters from small ones
    for field in copy.to_pyarrow_dataset().schema if copy else ():
        if field.name.lower() not in names:
            schema = schema.append(field)
    return schema
