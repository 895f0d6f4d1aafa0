"""The types, names and literals of PostgreSQL for the columns of our tables.

Only these belong here. Each value is staged as a type that ADBC can send, and cast when it is merged.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256

from pipelines.models.sql_file import Column
from pipelines.warehouse.catalog import quoted

_LONGEST_NAME_BYTES = 63

# An entry of an index has at most 2,704 bytes, and a grain may have four texts.
_LONGEST_KEY_BYTES = 600
_KEPT_OF_KEY = 100  # characters

DOUBTFUL = "~"
"""What stands before staged JSON that `jsonb` may refuse. No JSON begins with it."""

_FUNCTION = "pg_temp.read_doubtful_json"
READ_DOUBTFUL = f"""
    create or replace function {_FUNCTION}(value text) returns jsonb language plpgsql as
    $$ begin return value::jsonb; exception when others then return to_jsonb(value); end $$
"""
"""Makes the function that reads such JSON, and takes what is refused for a text."""

_DEEPEST_JSON = 1_000
_DOUBTFUL_NUMBER = r"(?:^|[:\[,])\s*-?(?:(?i:nan|inf)|[\d.]+[eE][+-]?\d{4}|[\d.]{1000})"
_FIRST_YEAR, _LAST_YEAR = -4_700, 294_000

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


def render_for(grain: Sequence[str]) -> Callable[[Column], str]:
    """Return a function that gives the SQL, of DuckDB, of the value that is staged for a column.

    PostgreSQL refuses some values, and one of them would stop all others. NUL characters, in JSON also as an
    escape, become U+FFFD; times that it can't hold become null; text of the grain that is too long for an
    index, or would become another key, is cut, and gets a digest.
    """

    def render(column: Column) -> str:
        value = _render(column)
        if column.name not in grain or type_of(column) != "text":
            return value
        text = f"{quoted(column.name)}::varchar"
        is_cut = f"strlen({text}) > {_LONGEST_KEY_BYTES} or contains({text}, chr(0))"
        cut = f"left({value}, {_KEPT_OF_KEY}) || '~' || sha256({text})"
        return f"case when {is_cut} then {cut} else {value} end"

    return render


def is_no_key(column: Column) -> str:
    """Return the SQL, of DuckDB, that tells whether a value can't be one of a primary key."""
    if type_of(column) == "text":
        return f"{quoted(column.name)} is null"
    value = _render(column)
    is_long = type_of(column) in ("jsonb", "bytea")
    return f"({value}) is null" + (
        f" or strlen(({value})::varchar) > {_LONGEST_KEY_BYTES}" if is_long else ""
    )


def _render(column: Column) -> str:
    name, kind = quoted(column.name), type_of(column)
    if kind == "date" or kind.startswith("timestamp"):
        return f"case when year({name}) between {_FIRST_YEAR} and {_LAST_YEAR} then {name} end"
    if kind in _AS_THEY_ARE:
        return name
    if kind in ("smallint", "real"):
        return f"{name}::{'integer' if kind == 'smallint' else 'double'}"
    if kind != "jsonb":
        return f"replace({name}::varchar, chr(0), '\ufffd')"
    text = f"{name}::varchar" if column.type == "JSON" else f"to_json({name})::varchar"
    # pairs of backslashes aside, because in `\\u0000` the backslash itself is escaped; JSON holds no NUL
    aside = rf"replace({text}, '\\', chr(0))"
    clean = rf"replace(replace({aside}, '\u0000', '\ufffd'), chr(0), '\\')"
    return f"case when {_is_doubtful(text)} then '{DOUBTFUL}' else '' end || {clean}"


def _is_doubtful(text: str) -> str:
    """Return the SQL that tells whether `jsonb` may refuse a JSON text, for a number or its depth."""
    brackets = f"strlen({text}) - strlen(translate({text}, '[{{', ''))"
    is_deep = f"strlen({text}) > {_DEEPEST_JSON} and {brackets} > {_DEEPEST_JSON}"
    return f"regexp_matches({text}, '{_DOUBTFUL_NUMBER}') or ({is_deep})"


def unstaged(column: Column, *, has_doubtful: bool = False) -> str:
    """Return the SQL, of PostgreSQL, that makes a staged value the table's, maybe by `READ_DOUBTFUL`."""
    kind, name = type_of(column), identifier(column.name)
    if kind == "jsonb" and has_doubtful:
        doubtful = f"{_FUNCTION}(substr({name}, {len(DOUBTFUL) + 1}))"
        is_doubtful = f"starts_with({name}, '{DOUBTFUL}')"
        return f"case when {is_doubtful} then {doubtful} else {name}::jsonb end as {name}"
    cast = "" if kind in _AS_THEY_ARE or kind == "text" else f"::{kind}"
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
