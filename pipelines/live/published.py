"""The one reader of the published tables, however many pages are open.

Opening the file again once another one is published, and running a query of ours on it, belong here. What is
asked does not: see `pipelines.live.board` and `pipelines.live.call`.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb

from connector.errors import OperatorError
from pipelines.models.load import read_query
from pipelines.models.model import AS_OF, LONGEST_CALL, Check, Model
from pipelines.warehouse.audit import Finding, run_check
from pipelines.warehouse.data_folder import DataFolder

_LONGEST_QUERY_S = 20.0

Row = dict[str, Any]
_T = TypeVar("_T")


class Version(NamedTuple):
    """The published file as the link names it now. It changes with every publish."""

    path: Path
    inode: int
    written_ns: int


class UnreadableError(OperatorError):
    """Tables that can't be read now: nothing is published, or the file is damaged or of another version."""


class Reader:
    """The published file of a folder, opened for reading. All methods run in one thread: see `Published`."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._version: Version | None = None

    def version(self) -> Version | None:
        """Return which file is published now, or None if none is."""
        try:
            path = self.folder.warehouse.published.resolve(strict=True)
            found = path.stat()
        except OSError:
            return None
        return Version(path, found.st_ino, found.st_mtime_ns)

    def reopen(self) -> Version | None:
        """Open the published file, unless it is open, and return its version.

        Raises:
            OperatorError: It can't be read.
        """
        version = self.version()
        if version is None or version != self._version:
            self.close()
            self._connection = self.folder.read()
            self._version = version
        return version

    def ask(self, name: str, **parameters: object) -> list[Row]:
        """Return the rows of the query `sql/queries/<name>.sql` by column name. Times are UTC.

        Raises:
            UnreadableError: The tables can't be read.
        """
        return self.ask_sql(_statement(self.folder.sql_dir, name), parameters)

    def ask_sql(self, sql: str, parameters: dict[str, object]) -> list[Row]:
        """Return the rows of a statement by column name.

        Raises:
            UnreadableError: The tables can't be read.
        """
        if self._connection is None:
            raise UnreadableError("No published tables are open.")
        try:
            with _alarm(self._connection):
                given = {key: value for key, value in parameters.items() if f"${key}" in sql}
                result = self._connection.execute(sql, given)
                names = [column for column, *_ in result.description or ()]
                return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        except duckdb.Error as error:
            raise UnreadableError(_explained(error)) from error

    def check(self, model: Model, check: Check, now: datetime) -> Finding:
        """Run one check that only warns, and return what it found.

        Raises:
            ModelError: It can't be run.
            UnreadableError: The tables can't be read.
        """
        if self._connection is None:
            raise UnreadableError("No published tables are open.")
        given = {AS_OF: now, LONGEST_CALL: self.folder.longest_call_s}
        with _alarm(self._connection):
            return run_check(self._connection, model, check, given)

    def interrupt(self) -> None:
        """End the query that runs now, from another thread."""
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None


class Published:
    """A `Reader` in a thread of its own, for an event loop."""

    def __init__(self, folder: DataFolder) -> None:
        self.reader = Reader(folder)
        self._thread = ThreadPoolExecutor(1, "reader")

    async def run(self, work: Callable[[Reader], _T]) -> _T:
        """Let `work` use the reader, after whatever uses it now."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self.reader)

    async def close(self) -> None:
        """Close the file."""
        self.reader.interrupt()
        await self.run(Reader.close)
        self._thread.shutdown(wait=False)


@contextmanager
def _alarm(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """End a query that keeps all pages waiting."""
    alarm = threading.Timer(_LONGEST_QUERY_S, connection.interrupt)
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


@lru_cache
def _statement(sql_dir: Path, name: str) -> str:
    return read_query(sql_dir, name)


def _explained(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return (
            "The published tables were made by another version of verbex-sync. Run `verbex-sync sync`. "
            f"DuckDB reports: {error}"
        )
    return f"The published tables can't be read. Run `verbex-sync sync`. DuckDB reports: {error}"
