"""The landed files that a warehouse has not loaded yet, found without comparing years of loaded ones.

A day's folder gets a mark once all its files are loaded, and is skipped while that mark fits. So does a
merged file, because the day that runs may hold many files that are merged and few that are new. What is read
from a file does not belong here: see `pipelines.warehouse.sources`. How a load is recorded does not either:
see `pipelines.warehouse.ledger`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import duckdb

from connector.errors import OperatorError
from connector.landing.files import LandedFile, Landing
from connector.landing.merged import is_merged
from connector.landing.zones import ZONES, Zone, zone_of
from pipelines.models.model import Model
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError
from pipelines.warehouse.sources import source_of

_DONE = """
    select day, mark from ops.days where list_contains($tables, model)
    group by all having count(distinct model) = len($tables)
"""

_DAYS = "select distinct day from ops.loads where list_contains($tables, model)"

_TAKEN = """
    select path from ops.loads where day = $day and list_contains($tables, model)
    group by path having count(distinct model) = len($tables)
"""

_TAKEN_OF = f"from ({_TAKEN}) where path in (select unnest($paths::varchar[]))"

_COUNT_TAKEN = f"select count(*) from ({_TAKEN})"

_COUNT_PASSED_OVER = "select count(distinct path) from ops.loads where row_count is null"

_PASSED_OVER = "select distinct path from ops.loads where day = $day and row_count is null"


_NAMED_PATHS = 3


class MissingFilesError(OperatorError):
    """Landing lacks files that tables were loaded from: it is another one, or part of it is lost."""

    def __init__(self, landing: Landing, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        more = f" and {len(paths) - _NAMED_PATHS} more" if len(paths) > _NAMED_PATHS else ""
        super().__init__(
            f"{landing.url} lacks {len(paths)} landed files that the tables were loaded from, or they "
            "can't be read: "
            f"{', '.join(paths[:_NAMED_PATHS])}{more}. Nothing was published. Mount or restore them, or "
            "correct VERBEX_LANDING_URL. If they are lost for good, "
            "`verbex-sync sync --full-refresh --accept-missing` builds the tables without them."
        )


@dataclass(frozen=True)
class NewFiles:
    """What a look at a zone found.

    Attributes:
        files: Landed files that are still to be loaded.
        marks: The marks of the days that they are in, and of the merged files in these days.
        missing: Paths of files that were loaded and that landing has no more.
    """

    files: tuple[LandedFile, ...]
    marks: Mapping[str, str]
    missing: tuple[str, ...] = ()

    def marks_without(self, unread: Collection[str]) -> dict[str, str]:
        """Return the marks of what holds none of these paths, which could not be read."""
        merged = {file.merged.merged_path for file in self.files if file.merged and file.path in unread}
        open_ones = merged | {path.rpartition("/")[0] for path in unread}
        return {place: mark for place, mark in self.marks.items() if place not in open_ones}


def find_new_files(
    connection: duckdb.DuckDBPyConnection,
    landing: Landing,
    zone: Zone,
    tables: Collection[str],
    *,
    stored: Mapping[str, Sequence[LandedFile]] | None = None,
) -> NewFiles:
    """Return the files of a zone that at least one of `tables` has not loaded.

    `stored` is what `Landing.list_stored` has just returned, if it was called.
    """
    asked = {"tables": list(tables)}
    done = set(connection.execute(_DONE, asked).fetchall())
    known_days = {day for (day,) in connection.execute(_DAYS, asked).fetchall()}
    stored = landing.list_stored([zone]) if stored is None else stored
    found = NewFiles((), {})
    for day in sorted({*(day for day in stored if zone_of(day) is zone), *known_days}):
        mark = _mark(stored.get(day, ()))
        if (day, mark) not in done:
            look = _Look(connection, landing, day, asked, done)
            new = look.find(stored.get(day, ()))
            marks = {**found.marks, **new.marks, day: mark}
            found = NewFiles(found.files + new.files, marks, found.missing + new.missing)
    return found


@dataclass(frozen=True)
class _Look:
    """A look at one day that may have new files, at a cost that does not grow with those loaded before."""

    connection: duckdb.DuckDBPyConnection
    landing: Landing
    day: str
    asked: Mapping[str, list[str]]
    done: Collection[tuple[str, str]]

    def find(self, stored: Sequence[LandedFile]) -> NewFiles:
        merged = {file.path: str(file.size_bytes) for file in stored if is_merged(file.path)}
        known = [file for file in stored if (file.path, merged.get(file.path)) in self.done]
        rest = [file for file in stored if (file.path, merged.get(file.path)) not in self.done]
        try:
            covered = self.landing.paths_in(known)
            others = self.landing.expand(lambda: rest)
        except FileNotFoundError:  # a merged file was merged with others since it was listed
            return self.find(self.landing.list_day_stored(self.day))
        taken = self._query(_TAKEN_OF, paths=[file.path for file in others])
        loaded = covered | taken
        files = tuple(sorted(file for file in others if file.path not in loaded))
        # All of `loaded` was loaded and is there. If no more was loaded, nothing is missing.
        ((count,),) = self._execute(_COUNT_TAKEN).fetchall()
        missing: set[str] = set()
        if count != len(loaded):
            missing = self._query(_TAKEN) - covered - {file.path for file in others}
            missing -= self._query(_PASSED_OVER) if missing else set()
        return NewFiles(files, merged, tuple(sorted(missing)))

    def _query(self, sql: str, **more: list[str]) -> set[str]:
        return {path for (path,) in self._execute(sql, **more).fetchall()}

    def _execute(self, sql: str, **more: list[str]) -> duckdb.DuckDBPyConnection:
        given = {**self.asked, "day": self.day, **more}
        return self.connection.execute(sql, {name: given[name] for name in given if f"${name}" in sql})


def list_new_files(folder: DataFolder, models: Sequence[Model]) -> list[LandedFile]:
    """List the landed files that any of the published tables has not loaded.

    Raises:
        MissingFilesError: Landing lacks files that they were loaded from.
    """
    zones: dict[Zone, list[str]] = {}
    for model in models:
        if source := source_of(model):
            zones.setdefault(source.zone, []).append(model.table)
    try:
        with folder.read() as connection:
            stored = folder.landing.list_stored(zones)
            found = [
                find_new_files(connection, folder.landing, zone, tables, stored=stored)
                for zone, tables in zones.items()
            ]
    except (NothingPublishedError, duckdb.CatalogException, duckdb.BinderException):
        # Nothing is published, or with the bookkeeping of another version: the next sync loads everything.
        return [file for zone in zones for file in folder.landing.list_files(zone)]
    if missing := [path for new in found for path in new.missing]:
        raise MissingFilesError(folder.landing, missing)
    return [file for new in found for file in new.files]


def count_passed_over(folder: DataFolder) -> int:
    """Return how many landed files the published tables passed over, and how many folders no table reads.

    Raises:
        NothingPublishedError: Nothing is published yet, or the file is damaged.
    """
    with folder.read() as connection:
        ((count,),) = connection.execute(_COUNT_PASSED_OVER).fetchall()
    return int(count) + len(explain_copied_days(folder.landing))


def explain_copied_days(landing: Landing) -> dict[str, str]:
    """Return the folders in landing that are named almost like a day, each with why nothing reads it."""
    reason = "it is named almost like the folder of a day, and was not read. Remove it if it is a copy."
    return {folder: reason for zone in ZONES for folder in landing.list_copied_days(zone)}


def _mark(stored: Sequence[LandedFile]) -> str:
    listed = "\n".join(f"{file.path} {file.size_bytes}" for file in stored)
    return sha256(listed.encode()).hexdigest()
