"""The output of commands: rows as a table for people or as lines for programs, and the progress of long work.

Formats belong here. What is printed in them does not: each command decides that.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count, islice
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from connector.system.counts import counted
from connector.system.progress import Progress
from pipelines.cli.words import printable, warn

Format = Literal["table", "json", "csv"]
Row = Sequence[object]

_NO_LIMIT = 100_000
_MOST_TABLE_ROWS = 1_000  # more than a person reads, and few enough to measure
_BEYOND_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}  # control characters that JSON allows


def show(columns: Sequence[str], rows: Iterable[Row], form: Format, *, title: str = "") -> None:
    """Print rows on standard output: as lines one by one, or the first ones as a table."""
    if not columns:
        return
    if form == "json":
        names = _unique(columns)
        # A file or pipe in another encoding can hold JSON's own escapes.
        is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
        for row in rows:
            sys.stdout.write(_json(dict(zip(names, row, strict=True)), is_ascii=is_ascii) + "\n")
    elif form == "csv":
        for row in chain([columns], rows):
            sys.stdout.write(_csv_line(row))
    else:
        remaining = iter(rows)
        print_table(columns, islice(remaining, _MOST_TABLE_ROWS), title=title)
        if left_out := sum(1 for _ in remaining):
            all_rows = "`--format csv` or `--format json` prints all."
            warn(f"{counted(left_out, 'more row')} left out. {all_rows}")


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
        table.add_row(*(_cell(_text(_as_people_write(value))) for value in row))
    return table


def brief(value: object) -> object:
    """Return a value as people read it: times in whole seconds, numbers with one digit after the point."""
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    return round(value, 1) if isinstance(value, float) else value


@contextmanager
def progress_bar(text: str) -> Iterator[Progress]:
    """Show a progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _cell(text: str) -> Text:
    return Text(printable(text))


def _as_people_write(value: object) -> object:
    """Return a number without the last digits, in which a sum of decimals is not what was meant."""
    return float(f"{value:.15g}") if isinstance(value, float) else value


def _text(value: object) -> str:
    if value is None:
        return ""
    return _json(value) if isinstance(value, dict | list | tuple) else str(_plain(value))


def _csv_line(row: Row) -> str:
    """Return a line of CSV. Null is empty, and an empty text is quoted."""
    # Python's writer quotes no carriage return, and its readers take that for the end of a line.
    fields = [_csv_field(None if value is None else _text(value)) for value in row]
    return (",".join(fields) or '""') + "\n"


def _csv_field(text: str | None) -> str:
    if text is None:
        return ""
    is_quoted = text == "" or any(char in text for char in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if is_quoted else text


def _json(value: object, *, is_ascii: bool = False) -> str:
    """Return a value as one line of JSON, with control characters escaped."""
    return json.dumps(_plain(value), ensure_ascii=is_ascii, allow_nan=False).translate(_BEYOND_JSON)


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
