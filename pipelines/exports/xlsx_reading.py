"""A workbook of ours read back: whose it is, where it stands, and the cells of its sheets.

Only workbooks as `pipelines.exports.xlsx` writes them are read. One that another program has saved since
keeps its texts elsewhere.

The parser is expat, which refuses entities that grow without end.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID
from xml.etree.ElementTree import Element, ParseError, fromstring, iterparse
from zipfile import BadZipFile, ZipFile

from pipelines.exports.target import TargetError
from pipelines.exports.xlsx_cells import Cell

PROPERTY = "verbex-sync "
"""The beginning of the names of a workbook's properties that say at which publish a table stands."""

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ESCAPED = re.compile(r"_x([0-9A-F]{4})_")


def read_standing(path: Path) -> dict[str, UUID]:
    """Return the publish at which each table in a workbook stands. Empty if there is no file.

    Raises:
        TargetError: It is not ours.
    """
    try:
        with ZipFile(path) as parts:
            properties = fromstring(parts.read("docProps/custom.xml"))  # noqa: S314
        standing = {
            name.removeprefix(PROPERTY): UUID("".join(each.itertext()))
            for each in properties
            if (name := each.get("name", "")).startswith(PROPERTY)
        }
    except FileNotFoundError:
        return {}
    except (BadZipFile, KeyError, ParseError, ValueError):
        standing = {}
    if not standing:
        raise TargetError(
            f"{path} is not ours: verbex-sync did not make it. Nothing was written. Rename it, or name "
            "another file."
        )
    return standing


def read_sheet(path: Path, name: str, columns: int) -> Iterator[tuple[Cell, ...]]:
    """Read the rows of a sheet below its header, each with `columns` cells.

    Raises:
        TargetError: There is no such sheet, or another program has saved the workbook.
    """
    with ZipFile(path) as parts:
        sheets = fromstring(parts.read("xl/workbook.xml")).iter(f"{_MAIN}sheet")  # noqa: S314
        number = next((place for place, each in enumerate(sheets, 1) if each.get("name") == name), 0)
        if not number or "xl/sharedStrings.xml" in parts.namelist():
            raise TargetError(
                f"{path} was saved by another program, so it can't be compared. Remove it, and export again."
            )
        with parts.open(f"xl/worksheets/sheet{number}.xml") as file:
            expected, rows = 1, None
            for event, element in iterparse(file, ("start", "end")):  # noqa: S314
                if event == "start":
                    rows = element if element.tag == f"{_MAIN}sheetData" else rows
                elif rows is not None and element.tag == f"{_MAIN}row":
                    line = int(element.get("r", "0"))
                    if line > 1:
                        yield from [(None,) * columns] * (line - expected)
                        yield _read_row(element, columns)
                    expected = line + 1
                    rows.clear()


def _read_row(row: Element, columns: int) -> tuple[Cell, ...]:
    cells: list[Cell] = [None] * columns
    for cell in row:
        place = 0
        for letter in cell.get("r", "").rstrip("0123456789"):
            place = place * 26 + ord(letter) - ord("A") + 1
        cells[place - 1] = _read_cell(cell)
    return tuple(cells)


def _read_cell(cell: Element) -> Cell:
    text = "".join(cell.itertext())
    match cell.get("t"):
        case "inlineStr":
            return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
        case "b":
            return text == "1"
    return float(text)
