"""The output of commands: rows as a table for people or as lines for programs, and the progress of long work.

Formats belong here. What is printed in them does not: each command decides that.
"""

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from connector.system.progress import Progress
from pipelines.cli.common import is_control, printable

Format = Literal["table", "json", "csv"]
Row = Sequence[object]

_NO_LIMIT = 100_000


def show(columns: Sequence[str], rows: Iterable[Row], form: Format, *, title: str = "") -> None:
    """Print rows on standard output."""
    if form == "json":
        names = _unique(columns)
        for row in rows:
            click.echo(_json(dict(zip(names, row, strict=True))))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)
    else:
        print_table(columns, rows, title=title)


def print_table(columns: Sequence[str], rows: Iterable[Row], *, title: str = "") -> None:
    """Print rows as a table, or one row below the other if the terminal is too narrow for that."""
    # a pipe has no width, and folded lines are hard to read for programs
    console = Console(width=None if sys.stdout.isatty() else _NO_LIMIT, emoji=False, highlight=False)
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
    # As `Text`, because rich would look for markup in a string.
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        is_number = any(isinstance(row[number], int | float) for row in listed)
        table.add_column(_cell(name), justify="right" if is_number else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(_text(value)) for value in row))
    return table


@contextmanager
def progress_bar(text: str) -> Iterator[Progress]:
    """Show a progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _cell(text: str) -> Text:
    return Text(printable(text))


def _text(value: object) -> str:
    if value is None:
        return ""
    return _json(value) if isinstance(value, dict | list | tuple) else str(_plain(value))


def _json(value: object) -> str:
    """Return a value as one line of JSON, with control characters escaped."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    return "".join(f"\\u{ord(char):04x}" if is_control(char) else char for char in text)


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Return a value that JSON can hold; any other becomes text. Bytes that are not UTF-8 are escaped."""
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number or value is None else str(value)


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names made unique by numbers, because a JSON object holds one value of a name."""
    taken: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        free = (each for each in numbered if each not in names and each not in taken)
        taken.append(name if name not in taken else next(free))
    return taken
