"""The cells of a workbook: what a value becomes in Excel, and what Excel has no room for.

Only values and Excel's limits belong here. Sheets do not: see `pipelines.exports.xlsx_sheets`.

Times are Excel's days since 1899-12-30, UTC. Exact numbers of more than its 15 digits, and times that it has
no day for, become text. So does what is no number: NaN and infinity.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exports.change import Change
from pipelines.exports.text import text_of
from pipelines.models.sql_file import Column
from pipelines.warehouse.catalog import quoted

MOST_ROWS = 1_048_575
"""The rows of a sheet without its header."""
MOST_COLUMNS = 16_384
MOST_CHARACTERS = 32_767
"""The length of a text in a cell, in units of UTF-16."""

Cell = str | float | bool | None

_LONGEST_NAME = 31
_OLDEST = -(2**63)
_EXACT = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)")
_REFUSED = str.maketrans("\ufffe\uffff", "\ufffd\ufffd")
_DAYS_BEFORE_1970 = 25_569
_FIRST, _END = "1900-03-01", "10000-01-01"  # Excel takes 1900 for a leap year


def is_time(column: Column) -> bool:
    """Return whether a column's cells are days with a time."""
    return column.type.startswith("TIMESTAMP")


def is_date(column: Column) -> bool:
    """Return whether a column's cells are whole days."""
    return column.type == "DATE"


def render(column: Column) -> str:
    """Return the SQL, of DuckDB, of the value from which `to_cells` makes a cell."""
    name, kind = quoted(column.name), column.type
    wide = kind if kind in ("DATE", "TIMESTAMP WITH TIME ZONE") else "TIMESTAMP"  # nanoseconds end in 2262
    is_day = f"{name}::{wide} >= '{_FIRST}'::{wide} and {name}::{wide} < '{_END}'::{wide}"
    if is_time(column):
        days = f"(epoch_us({name}) / 86400000000.0 + {_DAYS_BEFORE_1970})::double::varchar"
        return f"case when {is_day} then {days} else {text_of(column)} end"
    if is_date(column):
        return f"case when {is_day} then ({name} - date '1899-12-30')::varchar else {text_of(column)} end"
    return name if kind in ("DOUBLE", "BOOLEAN") else text_of(column)


def to_cells(column: Column) -> Callable[[Any], Cell] | None:
    """Return what turns the values of a column, as rendered, into cells. None if they are texts."""
    if _EXACT.fullmatch(column.type):
        return _exact_number
    if is_time(column) or is_date(column) or column.type in ("FLOAT", "DOUBLE"):
        return _number
    return _boolean if column.type == "BOOLEAN" else None


def clean(text: str) -> str:
    """Return a text without the two characters that XML refuses even as escapes; U+FFFD replaces them."""
    return text.translate(_REFUSED) if "\ufffe" in text or "\uffff" in text else text


def fit(text: str) -> str:
    """Return a text that a cell has room for: cut, with an ellipsis at its end, if it is longer."""
    if len(text) <= MOST_CHARACTERS // 2:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MOST_CHARACTERS:
        return text
    return units[: 2 * (MOST_CHARACTERS - 1)].decode("utf-16-le", errors="ignore") + "\u2026"


def name_sheets(tables: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Return the name of each table's sheet: its own, or cut and with a digest if Excel refuses that."""
    names: dict[str, str] = {}
    for table in tables:
        name = re.sub(r"[\[\]:*?/\\']", "_", table)
        others = {each.lower() for each in (*taken, *names.values(), "history")}
        if len(name) > _LONGEST_NAME or name.lower() in others:
            digest = sha256(table.encode()).hexdigest()[:8]
            name = f"{name[: _LONGEST_NAME - len(digest) - 1]}~{digest}"
        names[table] = name
    return names


class Rows:
    """The rows of a table that a sheet has room for: the newest.

    Attributes:
        count: All rows of the table.
        left_out: The rows that are not in the sheet.
        time: The column by which rows are new or old. Empty if there is none: then it is their order.
        columns: The columns that a sheet has room for.
        cells_cut: The texts that were cut when the rows were last read.
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        self.cells_cut = 0
        self.columns = change.table.columns[:MOST_COLUMNS]
        moments = (column.name for column in self.columns if column.type == "TIMESTAMP WITH TIME ZONE")
        self.time = next(moments, "")
        ages = self._read_ages()
        self.count = len(ages)
        self.left_out = max(0, self.count - MOST_ROWS)
        self._is_kept = None
        if self.left_out:
            ranks = pc.rank(ages.fill_null(_OLDEST), sort_keys="ascending", tiebreaker="first")
            self._is_kept = pc.greater(ranks, self.left_out)

    def __iter__(self) -> Iterator[tuple[Cell, ...]]:
        """Read the rows, in the order of the table."""
        converters = [to_cells(column) or self._fit for column in self.columns]
        self.cells_cut = offset = 0
        for batch in self._change.all_rows(render):
            kept = batch if self._is_kept is None else batch.filter(self._is_kept.slice(offset, len(batch)))
            offset += len(batch)
            pairs = zip(converters, kept.columns, strict=False)
            yield from zip(*(map(convert, column.to_pylist()) for convert, column in pairs), strict=True)

    def read_as_written(self) -> Iterator[tuple[Cell, ...]]:
        """Read the rows, with numbers as a workbook has them: of 16 digits."""
        for row in self:
            yield tuple(float(f"{cell:.16G}") if isinstance(cell, float) else cell for cell in row)

    def _fit(self, value: Any) -> Cell:  # noqa: ANN401 - as rendered
        if value is None:
            return None
        readable = clean(value)
        text = fit(readable)
        self.cells_cut += text is not readable
        return text

    def _read_ages(self) -> pa.ChunkedArray:
        def age(column: Column) -> str:
            return f"epoch_us({quoted(column.name)})" if column.name == self.time else "0::bigint"

        place = next((n for n, column in enumerate(self.columns) if column.name == self.time), 0)
        batches = self._change.all_rows(age)
        return pa.chunked_array([batch.column(place) for batch in batches], pa.int64())


def _exact_number(value: Any) -> Cell:  # noqa: ANN401 - as rendered
    if value is None:
        return None
    number = float(value)
    return number if Decimal(value) == Decimal(f"{number:.15g}") else str(value)


def _number(value: Any) -> Cell:  # noqa: ANN401 - as rendered
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:  # a time as text
        return str(value)
    return number if math.isfinite(number) else str(value)


def _boolean(value: Any) -> Cell:  # noqa: ANN401 - as rendered
    return None if value is None else bool(value)
