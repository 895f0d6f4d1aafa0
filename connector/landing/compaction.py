"""Compaction: the small files of past days become a few large ones, and readers see no difference.

The choice of files to merge, and the order of steps that makes merging safe, belong here. See
`connector.landing.merged` for how merged files are read.

Readers see the same files with the same rows before, during and after. The merged file becomes visible as a
whole, lists the files that its rows came from, and takes precedence over them. Only then are the small files
removed, each after its rows were read back from the merged file and found equal. After a kill at any point,
the next run continues: the merged file's name is made from the names of its parts, and small files that are
already merged are removed.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa

from connector.landing.files import LandedFile, Landing
from connector.landing.merged import Part, merged_name, parts_metadata
from connector.landing.zones import Zone

logger = logging.getLogger(__name__)

MAX_MERGED_BYTES = 256 * 1024 * 1024
_ROW_GROUP_BYTES = 32 * 1024 * 1024


def compact(landing: Landing, zone: Zone, *, before: date) -> int:
    """Merge the small files of every UTC day before `before`.

    Args:
        landing: The landing to compact.
        zone: The zone to compact.
        before: The first day to leave as it is, because it is not over, or not for long enough.

    Returns:
        The number of small files that were removed.

    Raises:
        OSError: The store failed. Finished steps stay, and the next run does the rest.
    """
    days = [day for day in landing.list_days(zone) if day.rpartition("date=")[2] < before.isoformat()]
    return sum(_compact_day(landing, day, zone.schema) for day in days)


def _compact_day(landing: Landing, day: str, schema: pa.Schema) -> int:
    for files in _choose(landing, day):
        _merge(landing, day, files, schema)
    removed = 0
    stored = {file.path: file for file in landing.list_stored(day)}
    for part in [part for file in stored.values() for part in landing.parts_of(file)]:
        if part.path in stored:
            _remove(landing, stored[part.path], part, schema)
            removed += 1
    return removed


def _choose(landing: Landing, day: str) -> Iterator[list[LandedFile]]:
    """Yield groups of two or more files of a day that are not merged yet, each group of limited size."""
    stored = landing.list_stored(day)
    merged = {part.path for file in stored for part in landing.parts_of(file)}
    group: list[LandedFile] = []
    for file in stored:
        if landing.parts_of(file) or file.path in merged:
            continue
        if sum(other.size_bytes for other in group) + file.size_bytes > MAX_MERGED_BYTES and len(group) > 1:
            yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _merge(landing: Landing, day: str, files: Sequence[LandedFile], schema: pa.Schema) -> None:
    identity = hashlib.sha256("\n".join(file.path for file in files).encode()).hexdigest()[:16]
    path = f"{day}/{merged_name(identity)}.parquet"
    parts: list[Part] = []

    def rows() -> Iterator[pa.Table]:
        first_row = 0
        for file in files:
            table = landing.read(file, schema)
            parts.append(Part(file.path, file.size_bytes, path, first_row, table.num_rows))
            first_row += table.num_rows
            yield table

    # The metadata is made at the end, when all parts are known.
    landing.write_file(path, _row_groups(rows()), schema, lambda: parts_metadata(parts))
    logger.info("Merged", extra={"path": path, "files": len(files)})


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(other.nbytes for other in waiting) >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _remove(landing: Landing, file: LandedFile, part: LandedFile, schema: pa.Schema) -> None:
    if landing.read(part, schema) != landing.read(file, schema):
        raise pa.ArrowInvalid(
            f"{file.path} has other rows than the file that it was merged into, so both are kept. It may "
            "have been landed again under the same name. Move it out of landing and inspect it."
        )
    landing.remove(file)
