"""The tables that a SELECT reads and the functions that it calls, found by DuckDB's parser. Nothing is run.

Names and parse trees belong here. What a model does with the tables it reads does not: see
`pipelines.models.model`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from pipelines.models.sql_file import ModelError

QUERY_TABLE = "query_table"
"""DuckDB's function that reads the table that its argument names."""

CLOCK_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Words that ask the clock without parentheses."""

SAMPLE = "using sample"
"""The name under which a sample of rows counts among the functions that a statement calls."""

STORED = "stored"
"""The schema of tables with hidden columns. A view in `main` shows their other columns."""

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
"""A name that means the same with and without quotes."""


@dataclass(frozen=True)
class Call:
    """A function that a statement calls. `names` has, for each argument, the tables that it may name.

    `is_source` is true if rows are read from it, as in `from range(3)`.
    """

    function: str
    names: tuple[frozenset[str], ...] = ()
    is_source: bool = False


@dataclass(frozen=True)
class Parsed:
    """The tables that a statement reads, without its CTEs, the functions it calls, and its parameters.

    Names of tables and parameters are in lower case. Those of tables are without the schemas of public ones.
    """

    relations: frozenset[str]
    calls: frozenset[Call]
    parameters: frozenset[str] = frozenset()


@cache
def parse(sql: str, where: str) -> Parsed:
    """Return what a SELECT reads and calls. `where` names its file in the error.

    Raises:
        ModelError: `sql` is not one SELECT that DuckDB can parse.
    """
    tree = _tree(sql)
    if tree["error"] or len(tree["statements"]) != 1:
        cause = tree.get("error_message", "found several statements")
        raise ModelError(f"{where} is not one SELECT: {cause}. Fix the file: it must hold one SELECT.")
    found = set(_names(tree, frozenset()))
    (statement,) = tree["statements"]
    return Parsed(
        frozenset(each for each in found if isinstance(each, str)),
        frozenset(each for each in found if isinstance(each, Call)),
        frozenset(entry["key"].lower() for entry in statement["named_param_map"]),
    )


def is_select(sql: str) -> bool:
    """Return whether `sql` is a SELECT, and not an expression."""
    return not sql.startswith("(") and not _tree(sql)["error"]


def relations_in(sql: str, name: str) -> frozenset[str]:
    """Return the tables that the SELECT of `name`.sql reads by themselves, without functions.

    Raises:
        ModelError: `sql` is not one SELECT that DuckDB can parse.
    """
    return parse(sql, f"{name}.sql").relations


def meant_table(name: str) -> str:
    """Return the name of a model's table: it is one table, whether its view is named or what is stored."""
    return name.lower().removeprefix("main.").removeprefix(f"{STORED}.")


def _tree(sql: str) -> dict[str, Any]:
    # a cursor of its own: threads that share the module's connection would read each other's answers
    row = duckdb.cursor().execute("select json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    return tree


def _names(tree: object, ctes: frozenset[str]) -> Iterator[str | Call]:
    """Yield the tables read and the functions called in a statement. `ctes` are the CTEs that it can use."""
    if isinstance(tree, list):
        for value in tree:
            yield from _names(value, ctes)
    elif isinstance(tree, dict):
        ctes |= {entry["key"].lower() for entry in tree.get("cte_map", {}).get("map", [])}
        if tree.get("type") == "BASE_TABLE":
            parts = (tree.get("catalog_name"), tree["schema_name"], tree["table_name"])
            yield from {meant_table(".".join(filter(None, parts)))} - (frozenset() if parts[1] else ctes)
        else:
            yield from _calls(tree, ctes)
        if tree.get("sample"):
            yield Call(SAMPLE)
        for value in tree.values():
            yield from _names(value, ctes)


def _calls(tree: dict[str, Any], ctes: frozenset[str]) -> Iterator[Call]:
    """Yield what a part of a statement itself calls, without the parts inside it."""
    if tree.get("type") == "TABLE_FUNCTION":
        yield _call(tree["function"], ctes)
    elif tree.get("type") == "SHOW_REF":  # describe, summarize, show
        yield Call(tree["show_type"].lower().removesuffix("_special"), is_source=True)
    elif tree.get("class") == "FUNCTION":
        yield Call(_meant_function(tree))
    elif tree.get("class") == "COLUMN_REF" and tree["column_names"][-1].lower() in CLOCK_WORDS:
        yield Call(tree["column_names"][-1].lower())


def _meant_function(function: dict[str, Any]) -> str:
    name: str = function["function_name"].lower()
    arguments = function.get("arguments") or function.get("children") or []
    return "current_date" if name == "age" and len(arguments) == 1 else name  # to today, if to nothing else


def _call(function: dict[str, Any], ctes: frozenset[str]) -> Call:
    # DuckDB 1 calls the arguments children; DuckDB 2 wraps each of them
    given = [
        each.get("expression", each) for each in function.get("arguments") or function.get("children") or []
    ]
    names = tuple(frozenset(meant_table(name) for name in _texts(each)) - ctes for each in given)
    return Call(function["function_name"].lower(), names, is_source=True)


def _texts(expression: object) -> Iterator[str]:
    """Yield the names and texts anywhere in an argument."""
    if isinstance(expression, list):
        for value in expression:
            yield from _texts(value)
    elif isinstance(expression, dict):
        if expression.get("class") == "COLUMN_REF":
            yield ".".join(expression["column_names"])
        elif expression.get("class") == "CONSTANT":
            constant = expression.get("literal") or expression.get("value") or {}
            text = constant.get("text", constant.get("value"))
            if isinstance(text, str):
                yield text
        else:
            for value in expression.values():
                yield from _texts(value)


@cache
def reserved_words() -> frozenset[str]:
    """Return the words that DuckDB does not accept as the name of a table."""
    rows = duckdb.cursor().execute(
        "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    )
    return frozenset(word for (word,) in rows.fetchall())


@cache
def builtin_functions() -> frozenset[str]:
    """Return the names of DuckDB's own functions."""
    rows = duckdb.cursor().execute("select distinct function_name from duckdb_functions()")
    return frozenset(name for (name,) in rows.fetchall())


@cache
def builtin_views() -> frozenset[str]:
    """Return the names of DuckDB's own views, which no table in `main` can have."""
    rows = duckdb.cursor().execute(
        "select view_name from duckdb_views() where internal and schema_name = 'main'"
    )
    return frozenset(name for (name,) in rows.fetchall())


@cache
def reason_against(definitions: tuple[str, ...]) -> str:
    """Return why DuckDB does not take one of these definitions of functions, empty if it takes all."""
    with duckdb.connect() as connection:
        try:
            for definition in definitions:
                connection.execute(definition)
        except duckdb.Error as error:
            return str(error)
    return ""
