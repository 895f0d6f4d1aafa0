"""The types of columns in a lake, which are those that every reader of Parquet and Delta Lake knows.

Only these belong here. What has no such type is kept as text; a value for which a type has no room is null.
"""

import re
from collections.abc import Iterable

import pyarrow as pa

from pipelines.models.sql_file import Column
from pipelines.warehouse.catalog import quoted

_TYPES = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "BLOB": pa.binary(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}
# Delta Lake has no unsigned numbers, and times without a zone need a protocol that older readers refuse.
_WIDENED = {
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INTEGER",
    "UINTEGER": "BIGINT",
    "UBIGINT": "DECIMAL(20,0)",
    "HUGEINT": "DECIMAL(38,0)",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "TIMESTAMP WITH TIME ZONE"),
}
_FIRST_YEAR, _LAST_YEAR = 1, 9999  # writers and readers fail at others, and at infinity
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_LIST = re.compile(r"([^\[\]()]+|DECIMAL\(\d+,\d+\))\[\]")
_MAP = re.compile(r"MAP\(([^\[\](),]+), ([^\[\](),]+|DECIMAL\(\d+,\d+\))\)")
_NESTED = re.compile(r"^(MAP|STRUCT|UNION)\(|\]$")


def render(column: Column) -> str:
    """Return the SQL, of DuckDB, of the value that a lake has for a column."""
    name, stored = quoted(column.name), _stored(column.type)
    if column.type == "DATE" or column.type.startswith("TIMESTAMP"):
        utc = f"(try_cast({name} as timestamp) at time zone 'UTC')"
        value = name if stored == column.type else utc
        return f"case when year({value}) between {_FIRST_YEAR} and {_LAST_YEAR} then {value} end"
    if stored == column.type:
        return name
    if column.type == "HUGEINT":
        return f"try_cast({name} as {stored.lower()})"
    if stored == "VARCHAR" and _NESTED.search(column.type):
        return f"to_json({name})::varchar"
    return f"{name}::{stored.lower()}"


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """Return the columns as a lake has them."""
    return pa.schema([(column.name, _arrow(_stored(column.type))) for column in columns])


def cast(rows: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    """Return rows with the columns of `schema`: those that they lack are null, others are left out."""
    return pa.RecordBatchReader.from_batches(schema, (fit(batch, schema) for batch in rows))


def fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the columns of `schema`, as `cast` does."""
    there = set(batch.schema.names)
    columns = [
        batch[field.name].cast(field.type) if field.name in there else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _stored(kind: str) -> str:
    """Return the type, of DuckDB, in which a type is stored."""
    if kind in _TYPES or _DECIMAL.fullmatch(kind):
        return kind
    if kind in _WIDENED:
        return _WIDENED[kind]
    if found := _LIST.fullmatch(kind):
        return f"{_stored(found[1])}[]" if found[1] != "JSON" else "VARCHAR"
    if found := _MAP.fullmatch(kind):
        return f"MAP({_stored(found[1])}, {_stored(found[2])})"
    return "VARCHAR"


def _arrow(stored: str) -> pa.DataType:
    if found := _DECIMAL.fullmatch(stored):
        return pa.decimal128(int(found[1]), int(found[2]))
    if found := _LIST.fullmatch(stored):
        return pa.list_(_arrow(found[1]))
    if found := _MAP.fullmatch(stored):
        return pa.map_(_arrow(found[1]), _arrow(found[2]))
    return _TYPES[stored]
