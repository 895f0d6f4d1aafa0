"""The tables that a SELECT reads, found by DuckDB's own parser. Nothing is run.

Names and parse trees belong here. What a model does with the tables it reads does not: see
`pipelines.models.model`.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from pipelines.models.sql_file import ModelError


@cache
def relations_in(sql: str, name: str) -> frozenset[str]:
    """Return the tables that a SELECT reads, in lower case as models are named, without its CTEs.

    Raises:
        ModelError: `sql` is not one SELECT that DuckDB can parse.
    """
    row = duckdb.execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree["error"] or len(tree["statements"]) != 1:
        cause = tree.get("error_message", "found several statements")
        raise ModelError(f"{name}.sql is not one SELECT: {cause}. Fix the file: it must hold one SELECT.")
    return frozenset(_relations(tree, frozenset()))


def _relations(tree: object, ctes: frozenset[str]) -> Iterator[str]:
    """Yield the tables read anywhere in a part of a statement. `ctes` are the CTEs it can use."""
    if isinstance(tree, list):
        for value in tree:
            yield from _relations(value, ctes)
    elif isinstance(tree, dict):
        ctes |= {entry["key"].lower() for entry in tree.get("cte_map", {}).get("map", [])}
        if tree.get("type") == "BASE_TABLE":
            schema, table = tree["schema_name"].lower(), tree["table_name"].lower()
            if schema or table not in ctes:
                yield table if schema in ("", "main") else f"{schema}.{table}"
        for value in tree.values():
            yield from _relations(value, ctes)


@cache
def reserved_words() -> frozenset[str]:
    """Return the words that DuckDB does not accept as the name of a table."""
    rows = duckdb.execute("select keyword_name from duckdb_keywords() where keyword_category = 'reserved'")
    return frozenset(word for (word,) in rows.fetchall())
