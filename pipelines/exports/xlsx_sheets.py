"""The sheets of a workbook: one for each table, and before them one that says what they are.

How a sheet looks, and what is said of it, belongs here. Values do not: see `pipelines.exports.xlsx_cells`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING

from pipelines.exports.change import Change, Source, Table
from pipelines.exports.xlsx_cells import (
    MOST_CHARACTERS,
    Cell,
    Rows,
    clean,
    fit,
    is_date,
    is_time,
    name_sheets,
)
from pipelines.models.sql_file import Column

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

ABOUT = "about"

_FORMULA = ("=", "+", "-", "@")
_SAMPLE = 200  # rows whose texts decide how wide a column is
_NARROWEST, _WIDEST, _TIME_WIDTH = 8, 60, 19
_ABOUT_WIDTHS = (26, 32, 28, 100)
_FOLDED = 90  # characters that surely stand in a line of the last column
_LINE_HEIGHT = 15
_NOTES = (
    "All times are UTC. The column day is a day in the time zone that verbex-sync is set to.",
    "Each export writes this file again as a whole, so what you change in it is lost.",
    "Keep your own formulas and charts in another workbook, linked to this one.",
)


@dataclass(frozen=True)
class Sheet:
    """The sheet of one table, and the rows that were written."""

    name: str
    table: Table
    rows: Rows


@dataclass
class _Widths:
    """The widths of columns, in characters, as wide as the header and the first texts."""

    names: Iterable[str]
    found: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.found = [max(_NARROWEST, len(name) + 3) for name in self.names]  # a filter's button takes some

    def see(self, place: int, cell: Cell) -> None:
        length = len(cell.partition("\n")[0]) + 1 if isinstance(cell, str) else 0
        self.found[place] = min(_WIDEST, max(self.found[place], length))


class Formats:
    """The formats of cells in one workbook."""

    def __init__(self, workbook: "Workbook") -> None:
        self.plain = workbook.add_format()
        self.bold = workbook.add_format({"bold": True})
        self.time = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self.date = workbook.add_format({"num_format": "yyyy-mm-dd"})
        self.count = workbook.add_format({"num_format": "#,##0", "align": "left", "valign": "top"})
        self.wrapped = workbook.add_format({"text_wrap": True, "valign": "top"})
        # what looks like a formula stays text even when somebody edits the cell
        self.no_formula = workbook.add_format({"quote_prefix": True})

    def of(self, column: Column) -> "Format | None":
        """Return the format of a column's days and times."""
        return self.time if is_time(column) else self.date if is_date(column) else None

    def write(
        self, sheet: "Worksheet", row: int, column: int, cell: Cell, style: "Format | None" = None
    ) -> None:
        """Write one cell: text always as text, whatever it looks like."""
        if isinstance(cell, bool):
            sheet.write_boolean(row, column, cell, style)
        elif isinstance(cell, str) and cell.startswith("<r>") and cell.endswith("</r>"):
            # the library takes this for markup, unless it makes that itself, of several parts
            sheet.write_rich_string(row, column, cell[:1], self.plain, cell[1:])
        elif isinstance(cell, str):
            sheet.write_string(row, column, cell, style)
        elif cell is not None:
            sheet.write_number(row, column, cell, style)


def write_sheets(workbook: "Workbook", source: Source, changes: Mapping[str, Change]) -> None:
    """Write a sheet for each table, with all rows that it has room for, and the sheet `about`."""
    formats = Formats(workbook)
    about = workbook.add_worksheet(ABOUT)
    names = name_sheets(list(changes), [ABOUT])
    sheets = [
        _write_table(workbook.add_worksheet(names[table]), formats, names[table], change)
        for table, change in changes.items()
    ]
    _write_about(about, formats, source.publish.published_at, sheets)


def _write_table(sheet: "Worksheet", formats: Formats, name: str, change: Change) -> Sheet:
    rows = Rows(change)
    widths = _Widths(column.name for column in rows.columns)
    styles = [formats.of(column) for column in rows.columns]
    for place, column in enumerate(rows.columns):
        formats.write(sheet, 0, place, fit(clean(column.name)), formats.bold)
    number = 0
    for number, row in enumerate(rows, 1):
        for place, cell in enumerate(row):
            style = styles[place]
            if isinstance(cell, str):
                style = formats.no_formula if cell.startswith(_FORMULA) else None
            formats.write(sheet, number, place, cell, style)
            if number <= _SAMPLE:
                widths.see(place, cell)
    for place, width in enumerate(widths.found):
        sheet.set_column(place, place, max(width, _TIME_WIDTH) if is_time(rows.columns[place]) else width)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, number, len(rows.columns) - 1)
    return Sheet(name, change.table, rows)


def _write_about(sheet: "Worksheet", formats: Formats, published_at: datetime, sheets: list[Sheet]) -> None:
    for place, width in enumerate(_ABOUT_WIDTHS):
        sheet.set_column(place, place, width)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    published = published_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    top: list[tuple[Cell, ...]] = [("published, UTC", published), *((note,) for note in _NOTES), ()]
    tables: list[tuple[Cell, ...]] = [
        (
            each.name,
            float(each.rows.count - each.rows.left_out),
            _say_what_was_cut(each) or "nothing",
            " ".join(each.table.description.split()),
        )
        for each in sheets
    ]
    columns = [
        (each.name, column.name, column.type.lower(), column.description)
        for each in sheets
        for column in each.rows.columns
    ]
    lines = [
        ("Tables of verbex-sync",),
        *top,
        ("sheet", "rows", "what was cut", "what it is"),
        *tables,
        (),
        ("sheet", "column", "type", "what it means"),
        *columns,
    ]
    headers = (0, len(top) + 1, len(top) + len(tables) + 3)
    for number, line in enumerate(lines):
        style = None
        if len(line) == len(_ABOUT_WIDTHS):
            style = formats.wrapped
            # not every program makes room for what is folded
            sheet.set_row(number, _LINE_HEIGHT * ceil(len(str(line[-1])) / _FOLDED))
        for place, cell in enumerate(line):
            if number in headers:
                style = formats.bold
            text = fit(clean(cell)) if isinstance(cell, str) else cell
            formats.write(sheet, number, place, text, formats.count if isinstance(cell, float) else style)


def _say_what_was_cut(sheet: Sheet) -> str:
    said = []
    if sheet.rows.left_out:
        by = f"by {sheet.rows.time}" if sheet.rows.time else "the last ones of the table"
        said.append(f"{sheet.rows.left_out:,} of {sheet.rows.count:,} rows; the newest were kept, {by}")
    if sheet.rows.cells_cut:
        said.append(f"{sheet.rows.cells_cut:,} cells of over {MOST_CHARACTERS:,} characters")
    if columns := len(sheet.table.columns) - len(sheet.rows.columns):
        said.append(f"{columns:,} columns")
    return "; ".join(said)
