"""`verbex-sync query`: SQL or a question on the published tables, and its rows as DuckDB writes them.

Which values Python can't hold as they are is known here. How rows are printed is not: see
`pipelines.cli.output`. Which questions there are is not either: see `pipelines.cli.questions`.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import click
import duckdb
from duckdb import StatementType
from duckdb.sqltypes import DuckDBPyType

from connector.errors import EXIT_USAGE
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.ending import ended_by_system
from pipelines.cli.output import Format, brief, show
from pipelines.cli.questions import (
    find_question,
    list_questions,
    print_meaning,
    print_question,
    refuse_other_columns,
)
from pipelines.cli.words import fail
from pipelines.models.model import Question
from pipelines.warehouse.audit import define_functions
from pipelines.warehouse.catalog import quoted
from pipelines.warehouse.data_folder import DataFolder

_ROWS_AT_ONCE = 1_000

# What Python holds as it is. It has no infinite date, no year 290000, no nanosecond and no month in a
# duration, so everything else becomes the text that DuckDB writes.
_FAITHFUL = frozenset(
    {"boolean", "float", "double", "decimal", "varchar", "enum", "uuid", "blob"}
    | {f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")}
    | {"integer", "uinteger"}
)


@click.command(
    epilog="Example: verbex-sync query --question containment, or verbex-sync query "
    '"select * from agent_daily order by day" --format csv > agents.csv'
)
@click.argument("sql", required=False)
@click.option("--question", "name", metavar="NAME", help="Answer a question: one of ours, or your own.")
@click.option("--list", "is_listing", is_flag=True, help="List the questions.")
@click.option("--allow-files", is_flag=True, help="Let the SQL read and write files, as `copy` does.")
@format_option
def query(sql: str | None, *, name: str | None, is_listing: bool, allow_files: bool, form: Format) -> None:
    """Run SQL on the published tables, read-only. With `-`, read it from standard input.

    Or answer a question by its name: the answer, and what its columns mean.
    """
    if (sql is not None) + (name is not None) + is_listing != 1:
        raise click.UsageError("Type one of these: SQL, `--question NAME` or `--list`.")
    settings = read_settings()
    folder = DataFolder.from_settings(settings)
    if is_listing:
        list_questions(folder, form)
        return
    with ended_by_system():
        question = None if name is None else find_question(folder, name)
        text = question.sql if question else _read_sql(sql or "")
        try:
            with folder.read() as connection:
                _lock(connection, settings.time_zone, allow_files=allow_files)
                if question:
                    define_functions(connection, question.functions)
                    _show_answer(question, *_run(connection, text), form)
                else:
                    show(*_run(connection, text), form)
        except duckdb.Error as error:
            fail(_explained(question, error) if question else str(error), EXIT_USAGE)


def _lock(connection: duckdb.DuckDBPyConnection, time_zone: str, *, allow_files: bool) -> None:
    """Set what a statement can't change any more: its time zone, and whether it may touch files."""
    if not allow_files:
        connection.execute("set enable_external_access = false")
    connection.execute(f"set TimeZone = '{time_zone}'")
    connection.execute("set enable_progress_bar = false")  # it would be printed among the rows
    connection.execute("set lock_configuration = true")


def _show_answer(
    question: Question, columns: Sequence[str], rows: Iterator[Sequence[Any]], form: Format
) -> None:
    """Print the rows; for people, with what they mean, and numbers as they read them."""
    refuse_other_columns(question, columns)
    if form != "table":
        show(columns, rows, form)
        return
    print_question(question)
    show(columns, ([brief(value) for value in row] for row in rows), form)
    print_meaning(question)


def _explained(question: Question, error: duckdb.Error) -> str:
    return (
        f"{question.where()} failed: {error}\nFix the file. If the published tables are older than it, run "
        "`verbex-sync sync` first."
    )


def _read_sql(typed: str) -> str:
    if typed == "-" and sys.stdin is None:  # closed by whoever started us
        fail("Standard input is closed, so there is no SQL in it.", EXIT_USAGE)
    try:
        text = sys.stdin.read() if typed == "-" else typed
        text.encode()
    except UnicodeError:
        fail("The SQL is not valid UTF-8.", EXIT_USAGE)
    return text


def _run(connection: duckdb.DuckDBPyConnection, text: str) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    """Run every statement. Return the names and rows of the last one."""
    statements = connection.extract_statements(text)
    if not statements:
        fail("There is no SQL statement in what was typed.", EXIT_USAGE)
    *before, last = statements
    if any(statement.type == StatementType.SELECT for statement in before):
        fail("Only the last statement may return rows. Type the others one by one.", EXIT_USAGE)
    for statement in before:
        connection.execute(statement)
    if last.type in (StatementType.SELECT, StatementType.MULTI):  # `pivot` is several
        return _run_select(connection, last.query.strip().rstrip(";"))
    connection.execute(last)
    return [name for name, *_ in connection.description or ()], _rows(connection)


def _run_select(
    connection: duckdb.DuckDBPyConnection, select: str
) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    found = connection.sql(select)
    values = (f"cast(#{number} as {_faithful(kind)})" for number, kind in enumerate(found.types, 1))
    connection.execute(f"select {', '.join(values)} from (\n{select}\n)")
    return found.columns, _rows(connection)


def _faithful(kind: DuckDBPyType) -> str:
    """Return a type as SQL, with text in place of every part that Python can't hold."""
    if kind.id in _FAITHFUL:
        return str(kind)
    if kind.id == "tuple":
        fields = [_faithful(part) for _, part in kind.children if isinstance(part, DuckDBPyType)]
        return f"tuple({', '.join(fields)})"
    parts = dict(kind.children) if kind.id in ("struct", "union", "map", "list", "array") else {}
    inner = {name: _faithful(part) for name, part in parts.items() if isinstance(part, DuckDBPyType)}
    if kind.id in ("struct", "union") and "" not in (names := list(inner)[kind.id == "union" :]):
        return f"{kind.id}({', '.join(f'{quoted(name)} {inner[name]}' for name in names)})"
    if kind.id == "map":
        return f"map({inner['key']}, {inner['value']})"
    if kind.id in ("list", "array"):
        return f"{inner['child']}[{parts.get('size', '')}]"
    return "varchar"


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    """Yield the rows of the running statement, a few at a time, so that memory does not grow with them."""
    if connection.description:
        batches = iter(lambda: connection.fetchmany(_ROWS_AT_ONCE), [])
        yield from chain.from_iterable(batches)
