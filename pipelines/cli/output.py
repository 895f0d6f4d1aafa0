"""The output of commands: rows as a table for people or as lines for programs, and the progress of long work.

Formats belong here. What is printed in them does not: each command decides that.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from connector.system.progress import Progress

Format = Literal["table", "json", "csv"]
Row = Sequence[object]

_NO_LIMIT = 100_000


def show(columns: Sequence[str], rows: Iterable[Row], form: Format, *, title: str = "") -> None:
    """Print rows on standard output."""
    if form == "json":
        for row in rows:
            print(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=_plain))  # noqa: T201
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)
    else:
        print_table(columns, rows, title=title)


def print_table(columns: Sequence[str], rows: Iterable[Row], *, title: str = "") -> None:
    """Print rows as a table, or one row below the other if the terminal is too narrow for that."""
    # a pipe has no width, and folded lines are hard to read for programs
    console = Console(width=None if sys.stdout.isatty() else _NO_LIMIT)
    listed = [list(row) for row in rows]
    table = as_table(columns, listed, title=title)
    natural_width = console.measure(table, options=console.options.update(max_width=_NO_LIMIT)).maximum
    if natural_width <= console.width:
        console.print(table)
        return
    for number, row in enumerate(listed, 1):
        caption = f"{title} {number}".strip()
        console.print(as_table(["column", "value"], zip(columns, row, strict=True), title=caption))


def as_table(columns: Sequence[str], rows: Iterable[Row], *, title: str = "") -> Table:
    """Return rows as a table of `rich`, with numbers on the right, and the title and text on the left."""
    listed = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        is_number = any(isinstance(row[number], int | float) for row in listed)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_escape(_text(value)) for value in row))
    return table


@contextmanager
def progress_bar(text: str) -> Iterator[Progress]:
    """Show a progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _text(value: object) -> str:
    if value is None:
        return ""
    return (
        str(_plain(value))
        if not isinstance(value, dict | list)
        else json.dumps(value, ensure_ascii=False, default=_plain)
    )


def _plain(value: object) -> object:
    """Return a value that JSON has no form for as text. Bytes that are not UTF-8 are escaped."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, int | float | bool) else str(value)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
