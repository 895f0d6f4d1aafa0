"""What a SELECT reads, found by DuckDB's own parser; nothing is run.

Names and parse trees belong here. What becomes of a model's upstream does not.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from pipelines.models.sql_file import ModelError


@cache
def relations_in(sql: str, name: str) -> frozenset[str]:
    """The tables a SELECT reads, in small letters as models are named, without its CTEs.

    Raises:
        ModelError: `sql` is not one SELECT that DuckDB can parse.
    """
    row = duckdb.execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree["error"] or len(tree["statements"]) != 1:
        raise ModelError(
            f"{name}.sql is not one SELECT: {tree.get('error_message', 'found several statements')}"
        )
    return frozenset(_relations(tree, frozenset()))


def _relations(tree: object, ctes: frozenset[str]) -> Iterator[str]:
    """The tables read anywhere in a part of a statement in which these CTEs can be named."""
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
    """The words that DuckDB lets no table be called."""
    rows = duckdb.execute("select keyword_name from duckdb_keywords() where keyword_category = 'reserved'")
    return frozenset(word for (word,) in rows.fetchall())
