"""One DuckDB file: how we open it for writing, and what its errors mean to an operator.

Which file is opened, and when, does not belong here: see `pipelines.warehouse.files`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from connector.errors import OperatorError
from pipelines.warehouse.memory import limit_memory

# BI tools bundle different versions of DuckDB 1.x. This is the oldest format, and all of them read it.
_STORAGE_VERSION = "v1.0.0"
# DuckDB's messages about a file that a crash, a full disk or another program has damaged.
_SIGNS_OF_DAMAGE = (
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "Corrupt database file",
)
# DuckDB takes what follows `?` for no part of a path, and `\` for a separator: it would write other files.
_MISREAD = frozenset("?\\")


class WarehousePathError(OperatorError):
    """A path at which DuckDB would write or read other files than those that were named."""


class WarehouseUnusableError(OperatorError):
    """Warehouse files that the operating system does not let us use: another user's, or on a full disk."""


def connect(path: Path, memory_bytes: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open a warehouse file for writing, with the format and time zone of all warehouse files.

    `memory_bytes` limits what DuckDB holds. By default that is what the machine or the container allows.
    """
    connection = duckdb.connect(str(path), config={"storage_compatibility_version": _STORAGE_VERSION})
    connection.execute("set TimeZone = 'UTC'")
    limit_memory(connection, memory_bytes)
    return connection


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block does, or undo all of it."""
    connection.execute("begin")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(duckdb.TransactionException):  # a commit that failed has undone it already
            connection.execute("rollback")
        raise


def is_damage(error: duckdb.Error) -> bool:
    """Return whether DuckDB reports that a file is damaged, or is no DuckDB file."""
    return any(sign in str(error) for sign in _SIGNS_OF_DAMAGE)


def is_held_for_writing(error: duckdb.Error) -> bool:
    """Return whether DuckDB reports that a file can't be read because another program writes it."""
    return "Could not set lock" in str(error)


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Name the path that can't be read or written, the operating system's reason, and the next step.

    Raises:
        WarehouseUnusableError: In place of the error of the operating system, or of DuckDB.
    """
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        if isinstance(error, duckdb.Error) and is_damage(error):
            raise
        reason = re.sub(r"^\[Errno \d+\] ", "", str(error))
        raise WarehouseUnusableError(
            f"{path} can't be {verb} ({reason}). What was published stays. Run this as the user who owns "
            "the data folder, or correct its permissions, its disk or VERBEX_DATA_DIR."
        ) from error


def refuse_misread(folder: Path) -> None:
    """Refuse a folder at whose path DuckDB would write or read other files.

    Raises:
        WarehousePathError: It has such a path.
    """
    if _MISREAD & {*str(folder), *str(folder.resolve())}:
        raise WarehousePathError(
            f"DuckDB can't keep tables in {folder}: it misreads the characters ? and \\ in a path. Move the "
            "data folder to a path without them, or set VERBEX_DATA_DIR."
        )
