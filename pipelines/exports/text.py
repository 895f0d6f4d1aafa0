"""The text of a value, for targets that hold text: readable by people, and read back by DuckDB.

Only the SQL of these texts belongs here. How a file quotes them does not.
"""

import re

from pipelines.models.sql_file import Column
from pipelines.warehouse.catalog import quoted

_NESTED = re.compile(r"^(MAP|STRUCT|UNION)\(|\]$")


def text_of(column: Column) -> str:
    """Return the SQL, of DuckDB, of a column's value as text.

    Moments are in UTC and say so, nested values are JSON, and bytes are text if they are UTF-8.
    """
    name = quoted(column.name)
    if _NESTED.search(column.type):
        return f"to_json({name})::varchar"
    match column.type:
        case "VARCHAR":
            return name
        case "TIMESTAMP WITH TIME ZONE":
            utc = f"timezone('UTC', {name})::varchar || '+00:00'"
            return f"case when isfinite({name}) then {utc} else {name}::varchar end"
        case "BLOB":
            return f"coalesce(try(decode({name})), {name}::varchar)"
    return f"{name}::varchar"


def is_free_text(column: Column) -> bool:
    """Return whether a column holds what anyone may have written, so that it may begin with anything."""
    return column.type in ("VARCHAR", "BLOB") or column.type.startswith("ENUM(")
