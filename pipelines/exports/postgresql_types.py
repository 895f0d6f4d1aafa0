"""The types, names and literals of PostgreSQL for the columns of our tables.

Only these belong here. Each value is staged as a type that ADBC can send, and cast when it is merged.
"""

import re
from hashlib import sha256

from pipelines.models.sql_file import Column
from pipelines.warehouse.catalog import quoted

_LONGEST_NAME_BYTES = 63

_TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "UTINYINT": "smallint",
    "INTEGER": "integer",
    "USMALLINT": "integer",
    "BIGINT": "bigint",
    "UINTEGER": "bigint",
    "UBIGINT": "numeric",
    "HUGEINT": "numeric",
    "UHUGEINT": "numeric",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "DATE": "date",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "UUID": "uuid",
    "BLOB": "bytea",
    "JSON": "jsonb",
}
_AS_THEY_ARE = frozenset(
    {"boolean", "integer", "bigint", "double precision", "date", "bytea"}
    | {"timestamp without time zone", "timestamp with time zone"}
)
_NESTED = re.compile(r"^(MAP|STRUCT|UNION)\(|\]$")
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def type_of(column: Column) -> str:
    """Return the type of a column, as PostgreSQL itself writes it. What it has none for becomes text."""
    if _NESTED.search(column.type):
        return "jsonb"
    if decimal := _DECIMAL.fullmatch(column.type):
        return f"numeric({decimal[1]},{decimal[2]})"
    return _TYPES.get(column.type, "text")


def render(column: Column) -> str:
    """Return the SQL, of DuckDB, of the value that is staged for a column.

    PostgreSQL refuses NUL characters, in JSON also as an escape; they become U+FFFD.
    """
    name, kind = quoted(column.name), type_of(column)
    if kind in _AS_THEY_ARE:
        return name
    if kind in ("smallint", "real"):
        return f"{name}::{'integer' if kind == 'smallint' else 'double'}"
    if kind != "jsonb":
        return f"replace({name}::varchar, chr(0), '\ufffd')"
    text = f"{name}::varchar" if column.type == "JSON" else f"to_json({name})::varchar"
    # pairs of backslashes aside, because in `\\u0000` the backslash itself is escaped; JSON holds no NUL
    aside = rf"replace({text}, '\\', chr(0))"
    return rf"replace(replace({aside}, '\u0000', '\ufffd'), chr(0), '\\')"


def unstaged(column: Column) -> str:
    """Return the SQL, of PostgreSQL, that makes a staged value the table's."""
    kind = type_of(column)
    cast = "" if kind in _AS_THEY_ARE or kind == "text" else f"::{kind}"
    name = identifier(column.name)
    return f"{name}{cast} as {name}"


def named(name: str) -> str:
    """Return a name as PostgreSQL can keep it: a longer one than 63 bytes is cut, and gets a digest."""
    name = name.replace("\0", "\ufffd")
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    digest = sha256(name.encode()).hexdigest()[:8]
    kept = name.encode()[: _LONGEST_NAME_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{kept}~{digest}"


def identifier(name: str) -> str:
    """Return a name of ours as an identifier."""
    return '"' + named(name).replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a literal."""
    text = text.replace("\0", "\ufffd").replace("\\", "\\\\").replace("'", "''")
    return f"E'{text}'"
