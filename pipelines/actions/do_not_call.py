"""The list of numbers that are never dialled, whatever a rule says.

Where the list is, and how it is read, belongs here. It comes from `seeds/do_not_call.csv` in the customer's
folder of SQL, from a table `do_not_call`, or from both, and it is read again for each batch of calls. A list
that can't be understood to the last entry is an error, and then nothing is dialled.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import duckdb

from connector.errors import OperatorError
from pipelines.actions.phone_number import EXAMPLE, to_e164
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError

SEED = Path("seeds") / "do_not_call.csv"
"""The file of the list in `VERBEX_SQL_DIR`."""
TABLE = "do_not_call"
COLUMN = "number"

_OF_LISTS = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods")
_DELIMITERS = ",;\t"
_AFTER_QUOTE = re.compile(r'" +(?=[,;\t\n]|$)')


class DoNotCallError(OperatorError):
    """A do-not-call list that is there and can't be used, so that nothing may be dialled."""


def read_do_not_call(folder: DataFolder) -> frozenset[str]:
    """Return the numbers that must not be dialled, as E.164. Without a list there are none.

    Raises:
        DoNotCallError: A list can't be read to its end, has no column `number`, or holds what is no number.
        ModelError: The files of SQL can't be used.
    """
    return frozenset({*_numbers_of_file(folder.own_sql_dir), *_numbers_of_table(folder)})


def is_listed(number: str, listed: frozenset[str]) -> bool:
    """Return whether a number is on the list, however it is written."""
    return to_e164(number) in listed


def _numbers_of_file(sql_dir: Path | None) -> Iterator[str]:
    if sql_dir is None:
        return
    if not sql_dir.is_dir():
        raise DoNotCallError(
            f"VERBEX_SQL_DIR names {sql_dir}, which is no folder, so it is not known who must not be called. "
            "Make it, or fix the setting."
        )
    path = sql_dir / SEED
    try:
        _refuse_elsewhere(sql_dir, path)
        if not path.exists() and not path.is_symlink():
            return
        with path.open(encoding="utf-8-sig") as lines:
            rows = list(_rows_of(lines, path))
    except OSError as error:
        raise DoNotCallError(
            f"{path} can't be read: {error.strerror}. Nothing is dialled until it can. Let this user read it."
        ) from error
    except UnicodeDecodeError as error:
        raise DoNotCallError(f"{path} is not UTF-8. Save it as `CSV UTF-8`.") from error
    position = _position_of_column(rows, path)
    for number, row in rows[1:]:
        yield _number(row[position] if position < len(row) else "", f"{path}:{number}")


def _rows_of(lines: Iterable[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its first line. Empty rows and lines that begin with `#` are none."""
    left = (_AFTER_QUOTE.sub('"', line) for line in lines)
    number, delimiter = 0, ""
    for line in left:
        number += 1
        if not line.strip() or line.lstrip(' "').startswith("#"):
            continue
        delimiter = delimiter or max(_DELIMITERS, key=line.count)
        reader = csv.reader(chain([line], left), delimiter=delimiter, strict=True)
        try:
            row = next(reader)
        except csv.Error as error:
            raise DoNotCallError(
                f"{path}:{number} can't be read as CSV: {error}. Check its quotes."
            ) from None
        cells = [cell.strip().strip('"').strip() for cell in row]
        if any(cells):
            yield number, cells
        number += reader.line_num - 1


def _position_of_column(rows: list[tuple[int, list[str]]], path: Path) -> int:
    names = [name.lower() for name in rows[0][1]] if rows else []
    if names.count(COLUMN) != 1:
        found = f"its first line reads `{', '.join(names)[:80]}`" if names else "it is empty"
        raise DoNotCallError(
            f"{path} has no single column `{COLUMN}`: {found}. Write a first line with the names of the "
            f"columns, one of them `{COLUMN}`."
        )
    return names.index(COLUMN)


def _refuse_elsewhere(sql_dir: Path, right: Path) -> None:
    """Refuse a list that is not where it is read. It would seem to protect people, and would not."""
    for path in sorted(sql_dir.rglob("*")):
        is_list = re.sub(r"[\W_]", "", path.stem.lower()).startswith("donotcall")
        if is_list and path.suffix.lower() in _OF_LISTS and path != right and not path.name.startswith("."):
            raise DoNotCallError(
                f"{path} looks like a do-not-call list, but only {right} is read. Move it there, as CSV in "
                "UTF-8, or remove it."
            )


def _numbers_of_table(folder: DataFolder) -> Iterator[str]:
    model = next((model for model in folder.models if model.name == TABLE), None)
    if model is None:
        return
    if model.problem:
        raise DoNotCallError(
            f"The table {TABLE} can't be brought up to date, so nothing is dialled. {model.problem}"
        )
    if COLUMN not in {column.name.lower() for column in model.columns}:
        raise DoNotCallError(f"{model.where()} has no column `{COLUMN}`. Name the numbers' column so.")
    try:
        with folder.read() as connection:
            found = connection.execute(f"select {COLUMN}::varchar from {model.stored}").fetchall()
    except (duckdb.Error, NothingPublishedError) as error:
        raise DoNotCallError(
            f"The table {TABLE} can't be read, so nothing is dialled: {error}. Run `verbex-sync sync` first."
        ) from error
    for (number,) in found:
        yield _number(number or "", f"The table {TABLE}")


def _number(written: str, where: str) -> str:
    number = to_e164(written)
    if number is None:
        raise DoNotCallError(
            f"{where} holds {written[:40]!r}, which is no telephone number with its country's code, so "
            f"nothing is dialled. Write it like {EXAMPLE}, or remove it."
        )
    return number
