"""What a statement may ask: nothing but tables, because a table follows from what landed alone.

What would give other rows at another time, or on another machine, is refused here. All other rules are in
`pipelines.models.rules`.
"""

from collections.abc import Iterator

from pipelines.models.model import Check, Model
from pipelines.models.relations import CLOCK_WORDS, SAMPLE, Parsed, parse
from pipelines.models.sql_file import ModelError

# Functions of rows that depend on nothing but their arguments. All others read files or the database itself.
_PURE_SOURCES = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree", "query_table"})
_CLOCK_AND_CHANCE = CLOCK_WORDS | {
    *("now", "today", "transaction_timestamp", "get_current_timestamp", "get_current_time"),
    *("current_localtime", "current_localtimestamp"),
    *("random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", SAMPLE),
    *("nextval", "currval", "txid_current", "current_setting", "getvariable", "getenv"),
}


def refuse_sources(statement: Model | Check) -> None:
    """Refuse a statement that reads rows from a function that reads a file or the database itself.

    Raises:
        ModelError: With the file and the fix.
    """
    own = {function.name for function in statement.functions if function.is_table}
    for parsed in _parts_of(statement):
        for call in sorted(parsed.calls, key=lambda call: call.function):
            if call.is_source and call.function not in _PURE_SOURCES | own:
                raise ModelError(
                    f"{statement.where()}: it reads rows from `{call.function}()`, and nothing shows when "
                    "these change. Read tables only; rows of your own can be written as `values` in a model."
                )


def refuse_clock(statement: Model | Check) -> None:
    """Refuse a statement that asks the clock, chance or the machine: a rebuild would give other rows.

    Raises:
        ModelError: With the file and the fix.
    """
    for parsed in _parts_of(statement):
        if asked := sorted(_CLOCK_AND_CHANCE & {call.function for call in parsed.calls}):
            raise ModelError(
                f"{statement.where()}: `{asked[0]}` gives other rows each time, and tables follow from what "
                "landed alone. Leave it out: a query, a dashboard or a check of severity warn can use it."
            )


def _parts_of(statement: Model | Check) -> Iterator[Parsed]:
    """Yield what the statement, and each function that it calls, reads and calls."""
    yield parse(statement.sql, statement.where())
    yield from (function.parsed for function in statement.functions)
