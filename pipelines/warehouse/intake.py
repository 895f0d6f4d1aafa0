"""The landed files that a warehouse has not loaded yet, found without comparing years of loaded ones.

A day's folder gets a mark once all its files are loaded, and is skipped while that mark fits. What is read
from a file does not belong here: see `pipelines.warehouse.sources`. How a load is recorded does not either:
see `pipelines.warehouse.ledger`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import duckdb

from connector.errors import OperatorError
from connector.landing.files import LandedFile, Landing
from connector.landing.zones import Zone
from pipelines.models.model import Model
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError
from pipelines.warehouse.sources import source_of

_BY_ALL = """
    select {columns} from {ledger} where list_contains($tables, model)
    group by all having count(distinct model) = len($tables)
"""

_DAYS = "select distinct day from ops.loads where list_contains($tables, model)"


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
        marks: The marks of the days that they are in.
        missing: Paths of files that were loaded and that landing has no more.
    """

    files: tuple[LandedFile, ...]
    marks: Mapping[str, str]
    missing: tuple[str, ...] = ()


def find_new_files(
    connection: duckdb.DuckDBPyConnection, landing: Landing, zone: Zone, tables: Collection[str]
) -> NewFiles:
    """Return the files of a zone that at least one of `tables` has not loaded."""
    asked = {"tables": list(tables)}
    done = set(connection.execute(_BY_ALL.format(columns="day, mark", ledger="ops.days"), asked).fetchall())
    known_days = {day for (day,) in connection.execute(_DAYS, asked).fetchall()}
    paths = _BY_ALL.format(columns="path", ledger="(from ops.loads where day = $day)")
    files: list[LandedFile] = []
    marks: dict[str, str] = {}
    missing: list[str] = []
    for day in sorted({*landing.list_days(zone), *known_days}):
        mark = _mark(landing.list_stored(day))
        if (day, mark) in done:
            continue
        taken = {path for (path,) in connection.execute(paths, asked | {"day": day}).fetchall()}
        listed = landing.list_day(day)
        files += [file for file in listed if file.path not in taken]
        missing += sorted(taken - {file.path for file in listed})
        marks[day] = mark
    return NewFiles(tuple(files), marks, tuple(missing))


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
            found = [
                find_new_files(connection, folder.landing, zone, tables) for zone, tables in zones.items()
            ]
    except NothingPublishedError:
        return [file for zone in zones for file in folder.landing.list_files(zone)]
    if missing := [path for new in found for path in new.missing]:
        raise MissingFilesError(folder.landing, missing)
    return [file for new in found for file in new.files]


def _mark(stored: list[LandedFile]) -> str:
    listed = "\n".join(f"{file.path} {file.size_bytes}" for file in stored)
    return sha256(listed.encode()).hexdigest()
