"""The state of a folder of CSV: which files in it are ours, and at which publish each stands.

What is in the files does not belong here: see `pipelines.exports.csv_files`.

A file is claimed before it is there, so that no kill leaves a file of ours that looks like somebody else's.
Its publish is noted after the file is there, so a kill in between only costs that it is written again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import UUID

from connector.system.files import make_file
from pipelines.exports.local_files import swap
from pipelines.exports.target import TargetError

STATE = ".verbex-sync.json"
LOCK = ".verbex-sync.lock"

_ASIDE = f"{STATE}.partial"


@dataclass(frozen=True)
class Format:
    """How files are written, as the URL says."""

    is_compressed: bool
    has_bom: bool
    is_defused: bool

    def name_file(self, table: str) -> str:
        """Return the name of a table's file."""
        return f"{table}.csv{'.gz' if self.is_compressed else ''}"


@dataclass(frozen=True)
class _File:
    table: str
    format: Format
    publish: str | None = None
    size_bytes: int = 0
    modified_ns: int = 0


class FolderState:
    """The state of one folder, kept in it.

    Raises:
        TargetError: It can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = _read(folder / STATE)
        if not (folder / STATE).exists():
            self._write()

    def find_standing(self, form: Format) -> dict[str, UUID]:
        """Return the publish at which each table's file of this format stands.

        A file that is gone, or was changed by somebody, does not count.
        """
        return {
            file.table: UUID(file.publish)
            for name, file in self._files.items()
            if file.publish and file.format == form and file == self._stamped(name, file)
        }

    def is_ours(self, name: str) -> bool:
        """Return whether a file of this name, if there is one, is ours."""
        return name in self._files

    def claim(self, tables: Iterable[str], form: Format) -> None:
        """Note that files will be there that are ours, durably."""
        for table in tables:
            self._files.setdefault(form.name_file(table), _File(table, form))
        self._write()

    def note(self, publishes: Mapping[str, UUID], form: Format) -> None:
        """Note the publish of each table, durably, and remove its files of a format with another name."""
        for table, publish_id in publishes.items():
            name = form.name_file(table)
            self._files[name] = self._stamped(name, _File(table, form, str(publish_id)))
        self._write()
        old = [
            name
            for name, file in self._files.items()
            if file.table in publishes and name != form.name_file(file.table)
        ]
        for name in old:
            (self._folder / name).unlink(missing_ok=True)
            del self._files[name]
        if old:
            self._write()

    def _stamped(self, name: str, file: _File) -> _File:
        """Return the state of a file with the size and time that it has now."""
        path = self._folder / name
        if not path.exists():
            return replace(file, publish=None)
        found = path.stat()
        return replace(file, size_bytes=found.st_size, modified_ns=found.st_mtime_ns)

    def _write(self) -> None:
        aside = self._folder / _ASIDE
        aside.unlink(missing_ok=True)
        make_file(aside)
        files = {name: asdict(file) for name, file in self._files.items()}
        try:
            aside.write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
            swap(aside, self._folder / STATE)
        finally:
            aside.unlink(missing_ok=True)


def refuse_if_not_ours(folder: Path) -> None:
    """Refuse a folder in which there is something, but no state of ours.

    Raises:
        TargetError: It is somebody else's.
    """
    if not folder.exists() or (folder / STATE).exists():
        return
    theirs = [path.name for path in folder.iterdir() if path.name not in (LOCK, _ASIDE)]
    if theirs:
        raise TargetError(
            f"{folder} has files that are not ours, such as {min(theirs)}. Nothing was written. Name an "
            "empty folder, or one that is not there yet."
        )


def _read(path: Path) -> dict[str, _File]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: _File(**{**file, "format": Format(**file["format"])})
            for name, file in state["files"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TargetError(
            f"{path} can't be read, so it is not known which files are ours. Nothing was written. Restore "
            "it, or name another folder."
        ) from None
