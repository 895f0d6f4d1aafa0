"""Which landed files a warehouse has not taken in, without looking at the years that it has.

A folder of a day is marked once all its files are in; as long as the mark holds, it is left alone. What of a
file is read belongs to `pipelines.sources`, and how it is entered to `pipelines.ledger`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import duckdb

from connector.landing import LandedFile, Landing


@dataclass(frozen=True)
class Intake:
    """Landed files of a zone that are still to be taken in, and the marks of the days they are in."""

    files: tuple[LandedFile, ...]
    marks: Mapping[str, str]


def look_for_files(
    connection: duckdb.DuckDBPyConnection, landing: Landing, zone: str, table: str | None = None
) -> Intake:
    """What of a zone a table has not taken in, or any table if none is named."""
    is_tables = "model = coalesce($table, model)"
    seen = connection.execute(f"select distinct day, mark from ops.days where {is_tables}", {"table": table})
    done = set(seen.fetchall())
    files: list[LandedFile] = []
    marks: dict[str, str] = {}
    for day in landing.list_days(zone):
        mark = _mark(landing.list_stored(day))
        if (day, mark) in done:
            continue
        rows = connection.execute(
            f"select path from ops.loads where day = $day and {is_tables}", {"day": day, "table": table}
        ).fetchall()
        taken = {path for (path,) in rows}
        files += [file for file in landing.list_day(day) if file.path not in taken]
        marks[day] = mark
    return Intake(tuple(files), marks)


def _mark(stored: list[LandedFile]) -> str:
    listed = "\n".join(f"{file.path} {file.size_bytes}" for file in stored)
    return sha256(listed.encode()).hexdigest()
