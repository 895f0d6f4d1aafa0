"""Exports to one Excel workbook: a sheet a table, swapped whole.

When the workbook is written belongs here. Its sheets do not: see `pipelines.exports.xlsx_sheets`.

Every export writes all its sheets again, of one publish, because no part of a workbook can be replaced. Where
the copies stand is in its custom properties, so it changes together with them.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from connector.errors import EXIT_USAGE
from connector.system.files import make_file, make_folder
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Source, Table
from pipelines.exports.local_files import UnusableUrlError, choose, only_writer, path_of, swap, using
from pipelines.exports.row_comparison import compare_rows, count_changes
from pipelines.exports.target import Difference, TargetError, Written
from pipelines.exports.xlsx_cells import Rows, name_sheets
from pipelines.exports.xlsx_reading import PROPERTY, read_sheet, read_standing
from pipelines.exports.xlsx_sheets import ABOUT, write_sheets

if TYPE_CHECKING:
    from xlsxwriter import Workbook

_EXAMPLE = "xlsx:/folder/file.xlsx"


class MissingLibraryError(TargetError):
    """The library that writes workbooks is not installed."""

    exit_code = EXIT_USAGE


@contextmanager
def open_xlsx(address: Address, *, wait_s: float) -> Iterator["XlsxTarget"]:
    """Open a workbook. Only `finish` changes it.

    Raises:
        TargetError: It can't be used, is not ours, or another process exports to it after `wait_s` seconds.
    """
    try:
        from xlsxwriter import Workbook
    except ImportError:
        raise MissingLibraryError(
            f"{address} needs a library that is not installed: pip install 'verbex-sync[xlsx]'"
        ) from None
    path = path_of(address, _EXAMPLE)
    if path.suffix != ".xlsx":
        raise UnusableUrlError(f"{address} names no workbook. Write {_EXAMPLE}.")
    choose(address)
    with using(address):
        read_standing(path)
        make_folder(path.parent)
    with only_writer(address, path.with_name(f".{path.name}.lock"), wait_s):
        with using(address):
            target = XlsxTarget(address, path, Workbook)
        try:
            yield target
        finally:
            target.discard()


class XlsxTarget:
    """The sheets of one workbook."""

    def __init__(self, address: Address, path: Path, workbook: "type[Workbook]") -> None:
        self._address = address
        self._path = path
        self._make_workbook = workbook
        self._aside = path.with_name(f".{path.name}.partial")
        self._standing = read_standing(path)
        self._done: dict[str, UUID] = {}

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:  # noqa: ARG002 - of all tables
        """Return the id of the publish at which the copy of each table stands."""
        return self._standing

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Note that a table is to be written: `finish` does that, for all tables."""
        self._done[change.table.name] = publish_id
        return count_changes(change)

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""
        self._done[table] = publish_id

    def finish(self, source: Source) -> None:
        """Write the workbook aside, with every table that it had or gets, and swap it."""
        if not self._done:
            return
        changes = {
            table.name: change
            for table in source.list_tables()
            if table.name in self._done or table.name in self._standing
            if (change := source.find_change(table, None))
        }
        with using(self._address):
            self.discard()
            make_folder(self._aside)
            self._write(source, changes)
            swap(self._aside / self._path.name, self._path)

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare a sheet with all rows of a table that it has room for, cut as it cuts them."""
        table = change.table
        if table.name not in self._standing:
            raise TargetError(f"There is no sheet of {table.name} in {self._path} yet. Export it first.")
        rows = Rows(change)
        sheet = name_sheets(list(self._standing), [ABOUT])[table.name]
        with using(self._address):
            theirs = read_sheet(self._path, sheet, len(rows.columns))
            return compare_rows(table, rows.read_as_written, theirs, sample)

    def discard(self) -> None:
        """Remove what was written aside, now or by a process that was killed."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _write(self, source: Source, changes: Mapping[str, Change]) -> None:
        from xlsxwriter.exceptions import XlsxWriterException

        aside = self._aside / self._path.name
        make_file(aside)
        workbook = self._make_workbook(str(aside), {"constant_memory": True, "tmpdir": str(self._aside)})
        workbook.set_properties({"title": "Tables of verbex-sync", "created": source.publish.published_at})
        for table in changes:
            workbook.set_custom_property(f"{PROPERTY}{table}", str(source.publish.id))
        write_sheets(workbook, source, changes)
        try:
            workbook.close()
        except XlsxWriterException as error:
            raise OSError(str(error)) from error
