"""The warehouse files: one that is published for readers, and others that writers use in turn.

Which file is written, which is published, and how they change places belongs here. Their content does not:
see `pipelines.warehouse.session`.

DuckDB lets a process write a file only while no other process has it open, so readers and the writer never
share a file. `<data>/warehouse.duckdb` is a link to the published file. A writer uses another file and
publishes it by an atomic rename of the link. Readers of the old file can continue to read it. A third file is
used while they do: the writer does not wait for them, and with three files nothing more is copied.

All files have the same name, each in a folder of its own: DuckDB names the catalog after the file, so what a
BI tool saves as `warehouse.main.calls` stays right.
"""

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import duckdb

from connector.errors import OperatorError
from connector.system.files import fsync_path, make_folder
from connector.system.lock import PATIENCE_S, LockHeldError, hold_lock, is_held
from pipelines.warehouse.database import connect, explained, is_damage, refuse_misread

logger = logging.getLogger(__name__)

_FILES_AT_REST = 3
_HEADER_BYTES = 3 * 4096
_MAX_NAMES_TRIED = 16
# Its messages about a file that another process has open, or another part of this process.
_SIGNS_OF_A_READER = ("Could not set lock", "same database file with a different configuration")

# What is at any other path is not ours: it is not read, written or removed.
_FOLDER = "warehouse"
_FILE_NAME = "warehouse.duckdb"
_FOLDER_NAME = re.compile(r"(?:g(\d+)-)?\d+")
_EARLIER_NAME = re.compile(r"(?:g(\d+)-)?\d+\.duckdb")


class WarehouseBusyError(OperatorError):
    """A warehouse that another process is writing."""


class NothingPublishedError(OperatorError):
    """A warehouse that is not published yet, or whose published file is damaged."""


class Warehouse:
    """The warehouse of one data folder."""

    def __init__(self, data_dir: Path, memory_bytes: int | None = None) -> None:
        self._memory_bytes = memory_bytes
        self.published = data_dir / "warehouse.duckdb"
        self._folder = data_dir / _FOLDER
        self._lock = self._folder / "writer.lock"

    @contextmanager
    def write(self, *, wait_s: float = PATIENCE_S, is_fresh: bool = False) -> Iterator["WarehouseFile"]:
        """Open the next file in turn, as its only writer; or with `is_fresh` an empty one.

        A fresh file begins a new generation. Files of another generation than the published one are not used
        again, because the rows that were wrong in them must not be published again.

        Raises:
            WarehouseBusyError: Another process is still writing after `wait_s` seconds.
            WarehousePathError: DuckDB can't use a path with these characters. Nothing was written.
            WarehouseUnusableError: The operating system does not let us write it.
        """
        refuse_misread(self._folder)
        with ExitStack() as stack:
            try:
                with explained(self._folder, "written"):
                    make_folder(self._folder)
                    stack.enter_context(hold_lock(self._lock, wait_s=wait_s))
                    file = self._next_file(is_fresh=is_fresh)
            except LockHeldError as error:
                raise WarehouseBusyError(
                    f"Process {error.holder} has been writing the warehouse for over {wait_s:.0f} s. "
                    "Nothing was changed. Run this again when that process is done."
                ) from None
            stack.callback(file.close)
            yield file

    def is_being_written(self) -> bool:
        """Return whether a process is writing at this moment."""
        return is_held(self._lock)

    def read(self) -> duckdb.DuckDBPyConnection:
        """Open the published file for reading.

        Raises:
            NothingPublishedError: No file is published yet, or it is damaged.
            WarehousePathError: DuckDB can't use a path with these characters.
            WarehouseUnusableError: The operating system does not let us read it.
        """
        refuse_misread(self._folder)
        try:
            with explained(self.published, "read"):
                if not self.published.exists():
                    raise NothingPublishedError(
                        f"{self.published} does not exist yet. Run `verbex-sync sync` first."
                    )
                # by its own path, because connections of one process share what the first opened at a path
                connection = duckdb.connect(str(self.published.resolve()), read_only=True)
                connection.execute("set TimeZone = 'UTC'")
                return connection
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            raise NothingPublishedError(
                f"{self.published} is damaged ({error}). Run `verbex-sync sync` to rebuild it from landing."
            ) from None

    def _next_file(self, *, is_fresh: bool) -> "WarehouseFile":
        files = [path for path in self._folder.glob(f"*/{_FILE_NAME}") if _match(path)]
        earlier = [path for path in self._folder.glob("*.duckdb") if _match(path)]
        published = self._find_published(files + earlier)
        changed = {path for path in files if not _is_as_published(path)}
        for each in sorted(changed):
            logger.warning("%s was changed by another program. It is not used again: open it read-only", each)
        # If the link is gone, the newest generation was the published one.
        shown = [published] if published else files + earlier
        generation = max(map(_generation_of, shown), default=0) + is_fresh
        alike = [
            path
            for path in files
            if path not in {published, *changed} and _generation_of(path) == generation - is_fresh
        ]
        alike.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        # A fresh file is made even if a refresh that was stopped left a part of one.
        resting = [] if is_fresh else alike
        # Files with names of an earlier version are replaced by copies of the published one.
        for outdated in {*files, *earlier} - {*alike, published}:
            _remove(outdated)
        connections = ((path, self._connect(path)) for path in resting)
        path, connection = next(((p, c) for p, c in connections if c is not None), (None, None))
        if path is None or connection is None:
            is_copied = not is_fresh and published not in changed
            path, connection = self._make_file(generation, published if is_copied else None)
        for surplus in [other for other in resting if other != path][_FILES_AT_REST - 2 :]:
            _remove(surplus)
        others = alike if is_fresh or published in changed else ()
        references = [
            each for each in (published, *others) if each is not None and each not in {path, *changed}
        ]
        return WarehouseFile(path, connection, self.published, references)

    def _find_published(self, files: Sequence[Path]) -> Path | None:
        """Return which of `files` is published, by its path in our folder, or the path of any other file."""
        if not self.published.exists():
            return None
        place = self.published.resolve()
        return next((path for path in files if path.resolve() == place), place)

    def _make_file(self, generation: int, published: Path | None) -> tuple[Path, duckdb.DuckDBPyConnection]:
        """Make and open the next file of a generation, as a copy of `published` if there is one."""
        paths = (self._folder / _name_of(generation, number) / _FILE_NAME for number in count(1))
        for path in islice((path for path in paths if not path.exists()), _MAX_NAMES_TRIED):
            _copy(published, path)
            # If the copied file was damaged, the first call removes it and the second makes an empty one.
            if connection := self._connect(path) or self._connect(path):
                return path, connection
            _remove(path)  # this process still reads a removed file of that name
        raise WarehouseBusyError(
            f"Each new file in {self._folder} is locked by another program at once. Nothing was changed. End "
            "that program, or move the data folder to a disk with locks."
        )

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection | None:
        """Open a file for writing. Return None if a reader has it open, or if it was damaged and removed."""
        if path.exists():
            path.chmod(0o644)
            _mark_of(path).unlink(missing_ok=True)
        try:
            return connect(path, self._memory_bytes)
        except duckdb.Error as error:
            if is_damage(error):
                logger.warning(
                    "%s is damaged and was removed; it is built again from landing: %s", path, error
                )
                path.unlink()
            elif not any(sign in str(error) for sign in _SIGNS_OF_A_READER):
                raise
            return None


class WarehouseFile:
    """A warehouse file that is being written. No reader sees it until it is published.

    Attributes:
        path: The file.
        connection: The one connection that writes it.
        references: The files whose content must not be lost by publishing this one: the published file, and
            others that stand for it if it is damaged. The first one that can be read counts.
    """

    def __init__(
        self, path: Path, connection: duckdb.DuckDBPyConnection, link: Path, references: Sequence[Path] = ()
    ) -> None:
        self.path = path
        self.connection = connection
        self.references = tuple(references)
        self._link = link

    def publish(self) -> None:
        """Publish this file in place of the one before. After that it can't be written any more.

        Raises:
            WarehouseUnusableError: The operating system does not let us write it. Nothing was published.
        """
        with explained(self._link.parent, "written"):
            self._publish()

    def _publish(self) -> None:
        self.close()
        # Some tools open a database for writing by default. They would lock readers out and change the file.
        # Root can do so nevertheless, so the file can be recognised.
        self.path.chmod(0o444)
        _mark_of(self.path).write_text(_digest(self.path), encoding="ascii")
        aside = self._link.with_suffix(".link")
        aside.unlink(missing_ok=True)
        aside.symlink_to(Path(_FOLDER, *self.path.parts[-2:]))
        aside.replace(self._link)
        fsync_path(self._link.parent)

    def close(self) -> None:
        """Close the file, and merge its write-ahead log into it. A second call does nothing."""
        self.connection.close()


def _copy(published: Path | None, path: Path) -> None:
    """Put a copy of the published file, if there is one, at a path where no file is."""
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    if published is not None:
        aside = path.with_suffix(".copy")
        shutil.copyfile(published, aside)
        aside.replace(path)


def _mark_of(path: Path) -> Path:
    """Return where the digest of a published file is kept, until it is written again."""
    return path.with_name("published.sha256")


def _digest(path: Path) -> str:
    """Return a digest of the headers of a DuckDB file. Each of its transactions changes one of them."""
    with path.open("rb") as file:
        return sha256(file.read(_HEADER_BYTES)).hexdigest()


def _is_as_published(path: Path) -> bool:
    """Return whether a file that was published has not been written since, or whether that is not known."""
    mark = _mark_of(path)
    if not mark.exists():
        return True
    return not path.with_name(f"{path.name}.wal").exists() and mark.read_text() == _digest(path)


def _name_of(generation: int, number: int) -> str:
    return f"g{generation}-{number}" if generation else str(number)


def _match(path: Path) -> re.Match[str] | None:
    if path.name == _FILE_NAME:
        return _FOLDER_NAME.fullmatch(path.parent.name)
    return _EARLIER_NAME.fullmatch(path.name)


def _generation_of(path: Path) -> int:
    match = _match(path)
    return int(match[1] or 0) if match else 0


def _remove(path: Path) -> None:
    """Remove a file with its write-ahead log, which would spoil the next file of this name."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    if path.name == _FILE_NAME:
        _mark_of(path).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or somebody put a file into it
            path.parent.rmdir()
