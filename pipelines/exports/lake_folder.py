"""The folder of a lake, local or in a bucket: who writes it, which tables in it are ours, where they stand.

What every target that writes files needs belongs here. The files of the tables do not.
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pyarrow as pa
from pyarrow import fs

from connector.system.files import fsync_path, make_file, make_folder
from connector.system.lock import LockHeldError, hold_lock
from pipelines.exports.address import Address
from pipelines.exports.local_files import choose
from pipelines.exports.target import TargetError

STATE = "_verbex_sync.json"
"""The file that says where each table stands. Readers of Parquet pass over names that begin with `_`."""

_ASIDE = ".verbex_sync."
_MARK = "verbex-sync"


@dataclass
class Entry:
    """What the state says of one table.

    Attributes:
        publish: The id of the publish at which it stands, None if that is not known.
        columns: Its columns with DuckDB's types, with those that it had once.
        unsettled: The parts that are being written: each is of that publish, or of a later one.
        has_rows_without_day: Whether the table has days and rows without one.
        at: What the copy says of itself, if `publish` holds only for that very copy.
    """

    publish: str | None
    columns: dict[str, str]
    unsettled: list[str]
    has_rows_without_day: bool = False
    at: str | None = None


class LakeFolder:
    """A folder with one folder for each table. Paths are relative to it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        path = address.path
        if "://" in path:
            self.filesystem, self.root = fs.FileSystem.from_uri(path)
        else:
            self.filesystem, self.root = fs.LocalFileSystem(), str(Path(path).absolute())
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)
        self.tables: dict[str, Entry] = {}
        self.names: tuple[str, ...] = ()
        self._saved = ""

    def standing(self) -> dict[str, UUID]:
        """Return the id of the publish at which each table stands."""
        return {name: UUID(entry.publish) for name, entry in self.tables.items() if entry.publish}

    def entry(self, name: str) -> Entry:
        """Return what is known of a table of ours, or begin one.

        Raises:
            TargetError: There is something of that name already that we did not make.
        """
        if name not in self.tables:
            if self.list(name):
                raise not_ours(self.address, name)
            self.tables[name] = Entry(None, {}, [])
        return self.tables[name]

    def adopt(self, name: str) -> None:
        """Begin to know a table that is ours, though the state does not say so."""
        self.tables[name] = Entry(None, {}, [])

    def list(self, path: str, *, is_recursive: bool = False) -> list[fs.FileInfo]:
        """List what is in a folder; nothing if there is none."""
        selector = fs.FileSelector(f"{self.root}/{path}", allow_not_found=True, recursive=is_recursive)
        return list(self.filesystem.get_file_info(selector))

    def save(self) -> None:
        """Write the state, durably."""
        tables = {name: asdict(entry) for name, entry in sorted(self.tables.items())}
        text = json.dumps({"kept_by": _MARK, "tables": tables}, indent=1, ensure_ascii=False)

        def write(path: str) -> None:
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(text.encode())

        if text != self._saved:
            self.replace(STATE, write)
            self._saved = text

    def load(self) -> None:
        """Read the state.

        Raises:
            TargetError: It is not ours, or can't be read.
        """
        try:
            with self.filesystem.open_input_stream(f"{self.root}/{STATE}") as stream:
                text = stream.read()
        except FileNotFoundError:
            return
        try:
            self.tables = _read_state(text)
        except (ValueError, KeyError, TypeError):
            raise TargetError(
                f"{self.address} has a {STATE} that verbex-sync can't read. Nothing was written. Restore "
                "that file, or name another folder."
            ) from None

    def replace(self, path: str, write: Callable[[str], None]) -> None:
        """Write a file where no reader looks, and put it in place whole and durably.

        Raises:
            OSError: It can't be written. What was there before is still there.
        """
        aside, target = f"{self.root}/{_ASIDE}{secrets.token_hex(4)}.tmp", f"{self.root}/{path}"
        try:
            if self.is_local:
                make_file(Path(aside))
                write(aside)
                fsync_path(Path(aside))
                make_folder(Path(target).parent)
                Path(aside).replace(target)
                fsync_path(Path(target).parent)
            else:
                # An upload that breaks off can still be completed, as a shorter object, when it is closed.
                write(aside)
                self.filesystem.copy_file(aside, target)
                self.filesystem.delete_file(aside)
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_file(aside)
            raise

    def look_around(self) -> None:
        """Forget tables that somebody deleted, and delete what a killed process left half written."""
        there = {info.base_name: info.path for info in self.list("")}
        self.names = tuple(there)
        self.tables = {name: entry for name, entry in self.tables.items() if name in there}
        for name, path in there.items():
            if name.startswith(_ASIDE) and name.endswith(".tmp"):
                with suppress(OSError):
                    self.filesystem.delete_file(path)


@contextmanager
def open_lake(address: Address, *, wait_s: float) -> Iterator[LakeFolder]:
    """Open a folder that only this process writes, as far as a lock on this machine can say.

    Raises:
        TargetError: It can't be read or written, or another process exports to it after `wait_s` seconds.
    """
    choose(address)
    try:
        folder = LakeFolder(address)
        with hold_lock(_lock_path(folder), wait_s=wait_s):
            folder.load()
            folder.look_around()
            yield folder
    except LockHeldError as error:
        raise TargetError(
            f"Another process ({error.holder}) exports to {address} now. Nothing was written. Run this again "
            "later."
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise unusable(address, error) from None


def unusable(address: Address, error: Exception) -> TargetError:
    """Return the error that tells why a target can't be read or written."""
    reason = address.hide_in(" ".join(str(error).split()))
    return TargetError(
        f"{address} can't be read or written. What is there is as it was, or whole and newer: {reason}"
    )


def not_ours(address: Address, name: str) -> TargetError:
    """Return the error for a table's folder that we did not make."""
    return TargetError(
        f"{address} has a {name} that verbex-sync did not make. Nothing in it was touched. Name another "
        "folder, or rename it."
    )


def _read_state(text: bytes) -> dict[str, Entry]:
    state = json.loads(text)
    if state["kept_by"] != _MARK:
        raise ValueError(state["kept_by"])
    return {name: Entry(**entry) for name, entry in state["tables"].items()}


def _lock_path(folder: LakeFolder) -> Path:
    if folder.is_local:
        make_folder(Path(folder.root))
        return Path(folder.root) / ".verbex_sync.lock"
    digest = sha256(folder.root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"verbex-sync-{digest}.lock"
