"""Compaction: the small files of days that are over become a few large ones, and no reader notices.

Choosing what to merge, and the order of steps that makes it safe, belong here. How merged files are
read is `connector.landing.merged`'s.

Readers see the same files with the same rows before, while and after: the merged file appears at once,
says whose rows it holds, and takes precedence; only then are the small files removed, each after its
rows were read back from the merged file and found equal. Killed anywhere, the next run goes on: the
merged file's name derives from what it holds, and small files that are merged already are removed.
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
        landing: Where.
        zone: Of which zone.
        before: The first day that is not over yet, or not long enough.

    Returns:
        The number of small files that are gone.

    Raises:
        OSError: The store fails; what was done is done, and the rest is for the next run.
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
    """Groups of two or more files of a day that are not merged yet, each of a bearable size."""
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

    # The metadata is asked for at the end, when every part is known.
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
            f"{file.path} holds other rows than the file it was merged into; both are kept. If it was "
            "landed anew under the same name, move it away and look at it."
        )
    landing.remove(file)
