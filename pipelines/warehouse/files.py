"""The warehouse files: one that readers see, and others that take turns behind it.

Which file is written, which is published and how they change places belongs here. What is in them
does not. DuckDB lets one process write a file that nobody else has open, so readers and the writer
never share one: `<data>/warehouse.duckdb` is a link to the published file, a writer takes another and
swaps the link by an atomic rename. Readers of the file before go on reading it. While they do, a third
file takes its turn; nothing waits for them, and nothing is copied again once there are three.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from connector.errors import OperatorError
from connector.system.files import fsync_path
from connector.system.lock import PATIENCE_S, LockHeldError, hold_lock, is_held

logger = logging.getLogger(__name__)

# BI tools bundle whatever DuckDB 1.x they were built with; this is the oldest format they all read.
_STORAGE_VERSION = "v1.0.0"
_FILES_AT_REST = 3
# What DuckDB says of a file that a crash, a full disk or another program left in pieces.
_SIGNS_OF_DAMAGE = (
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "Corrupt database file",
)
# More than this is put on disk meanwhile, so that a first build fits beside other programs.
_MEMORY_LIMIT = "3GB"


class WarehouseBusyError(OperatorError):
    """Another process is writing the warehouse."""


class NothingPublishedError(OperatorError):
    """There is no published warehouse yet, or none that can be read."""


class Warehouse:
    """The warehouse of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.published = data_dir / "warehouse.duckdb"
        self._folder = data_dir / "warehouse"
        self._lock = self._folder / "writer.lock"

    @contextmanager
    def write(self, *, wait_s: float = PATIENCE_S) -> Iterator["WarehouseFile"]:
        """Open the file whose turn it is, as its only writer.

        Raises:
            WarehouseBusyError: Another process still writes after `wait_s` seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self._lock, wait_s=wait_s))
            except LockHeldError as error:
                raise WarehouseBusyError(
                    f"Process {error.holder} has been writing the warehouse for over {wait_s:.0f} s; "
                    "nothing was changed. Run the sync again when it is done."
                ) from None
            file = self._next_file()
            stack.callback(file.close)
            yield file

    def is_being_written(self) -> bool:
        """Whether a process is writing at this moment."""
        return is_held(self._lock)

    def read(self) -> duckdb.DuckDBPyConnection:
        """Open the published file for reading.

        Raises:
            NothingPublishedError: No sync has published one yet, or it is damaged.
        """
        if not self.published.exists():
            raise NothingPublishedError(f"{self.published} does not exist yet; run `verbex-sync sync` first.")
        try:
            return duckdb.connect(str(self.published), read_only=True)
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            raise NothingPublishedError(
                f"{self.published} is damaged ({error}); `verbex-sync sync` makes it anew from landing."
            ) from None

    def _next_file(self) -> "WarehouseFile":
        published = self.published.resolve() if self.published.exists() else None
        resting = [path for path in self._folder.glob("*.duckdb") if path.resolve() != published]
        resting.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        connections = ((path, _connect(path)) for path in resting)
        path, connection = next(((p, c) for p, c in connections if c is not None), (None, None))
        if path is None or connection is None:
            path = self._new_file(published)
            connection = _connect(path) or _connect(path)  # empty, if what was copied is damaged
            assert connection is not None  # noqa: S101 - nobody else knows the new file yet
        for surplus in [other for other in resting if other != path][_FILES_AT_REST - 2 :]:
            surplus.unlink(missing_ok=True)
        return WarehouseFile(path, connection, self.published, published)

    def _new_file(self, published: Path | None) -> Path:
        taken = {int(path.stem) for path in self._folder.glob("*.duckdb") if path.stem.isdecimal()}
        path = self._folder / f"{next(n for n in range(1, len(taken) + 2) if n not in taken)}.duckdb"
        path.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        if published is not None:
            aside = path.with_suffix(".copy")
            shutil.copyfile(published, aside)
            aside.replace(path)
        return path


class WarehouseFile:
    """A warehouse file that is being written; nobody else sees it until it is published."""

    def __init__(
        self, path: Path, connection: duckdb.DuckDBPyConnection, link: Path, published: Path | None
    ) -> None:
        self.path = path
        self.connection = connection
        self.published = published
        self._link = link

    def publish(self) -> None:
        """Show this file to readers in place of the one before; it takes no more writes after that."""
        self.close()
        # A tool that opens a database for writing by default would lock readers out and change it.
        self.path.chmod(0o444)
        aside = self._link.with_suffix(".link")
        aside.unlink(missing_ok=True)
        aside.symlink_to(self.path.relative_to(self._link.parent))
        aside.replace(self._link)
        fsync_path(self._link.parent)

    def close(self) -> None:
        """Let go of the file, its write-ahead log folded in; calling it again does nothing."""
        self.connection.close()


def is_damage(error: duckdb.Error) -> bool:
    """Whether DuckDB says that a file is none of its own, or in pieces."""
    return any(sign in str(error) for sign in _SIGNS_OF_DAMAGE)


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a warehouse file for writing, in the format and time zone that all of them have."""
    connection = duckdb.connect(str(path), config={"storage_compatibility_version": _STORAGE_VERSION})
    connection.execute(f"set TimeZone = 'UTC'; set memory_limit = '{_MEMORY_LIMIT}'")
    return connection


def _connect(path: Path) -> duckdb.DuckDBPyConnection | None:
    """Open a file for writing; None while a reader holds it, or if it was damaged and is gone."""
    if path.exists():
        path.chmod(0o644)
    try:
        return connect(path)
    except duckdb.Error as error:
        if is_damage(error):  # landing has all that was in it
            logger.warning("%s is damaged and was removed: %s", path, error)
            path.unlink()
        elif "Could not set lock" not in str(error):
            raise
        return None
