"""Compaction: small files become a few large ones, and readers see no difference.

The choice of files to merge, and the order of steps that makes merging safe, belong here. See
`connector.landing.merged` for how merged files are read. When to merge does not belong here.

Readers see the same files with the same rows before, during and after. The merged file becomes visible as a
whole, lists the files that its rows came from, and takes precedence over them. Only then are the files it was
made from removed, each after its rows were read back from the merged file and found equal. After a kill at
any point, the next run continues: files that are already merged are removed. Two processes that merge the
same day at once do work twice, and lose nothing.

Files that can't be read, and files that are not ours, are left as they are. A day in which nothing can be
deleted is merged once and no further, because each merge would read it all and leave more files than before.
"""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from threading import Event
from typing import TypeVar

import pyarrow as pa

from connector.landing.files import LandedFile, Landing, NotRemovedError
from connector.landing.merged import Part, is_merged, merged_name, parts_metadata
from connector.landing.ownership import find_misplacement
from connector.landing.zones import ZONES, Zone, zone_of

logger = logging.getLogger(__name__)

MAX_MERGED_BYTES = 256 * 1024 * 1024
MAX_SMALL_FILES = 1_000
"""The small files that a day may hold while it runs. The more there are, the longer a look takes."""

_MAX_PARTS = 100_000  # their list takes some 15 MB of the merged file
_MAX_MERGED_FILES = 8
_ROW_GROUP_BYTES = 32 * 1024 * 1024
_READERS = 4
_READ_AHEAD = 64

_Thing = TypeVar("_Thing")


def compact(landing: Landing, zone: Zone, *, before: date) -> int:
    """Merge the small files of every UTC day before `before`.

    Args:
        landing: The landing to compact.
        zone: The zone to compact.
        before: The first day to leave as it is, because it is not over, or not for long enough.

    Returns:
        The number of files that were removed, each merged into another.

    Raises:
        OSError: The store failed. Finished steps stay, and the next run does the rest.
        pa.ArrowInvalid: A file has other rows than those merged under its name. The rest was merged.
    """
    days = [
        day
        for day, stored in landing.list_stored([zone]).items()
        if day.rpartition("date=")[2] < before.isoformat() and len(stored) > 1
    ]
    return _each(days, lambda day: _compact_day(landing, day, zone, is_over=True))


def compact_crowded(landing: Landing) -> int:
    """Merge the small files of every day, also of today, that holds more than `MAX_SMALL_FILES` of them.

    Returns:
        The number of files that were removed, each merged into another.

    Raises:
        OSError: The store failed. Finished steps stay, and the next run does the rest.
        pa.ArrowInvalid: A file has other rows than those merged under its name. The rest was merged.
    """
    return _each(_crowded(landing), lambda found: _compact_day(landing, *found, is_over=False))


def is_crowded(landing: Landing) -> bool:
    """Return whether a day holds so many small files that `compact_crowded` merges them.

    Raises:
        OSError: Landing can't be listed.
    """
    return bool(_crowded(landing))


def _crowded(landing: Landing) -> list[tuple[str, Zone]]:
    return [
        (day, zone_of(day))
        for day, stored in landing.list_stored(ZONES).items()
        if sum(not is_merged(file.path) for file in stored) > MAX_SMALL_FILES
    ]


def _each(things: Iterable[_Thing], work: Callable[[_Thing], int]) -> int:
    """Return the sum of `work` for all things. One that fails does not stop the rest. It is raised last."""
    total, errors = 0, list[Exception]()
    for thing in things:
        try:
            total += work(thing)
        except (pa.ArrowException, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return total


def _compact_day(landing: Landing, day: str, zone: Zone, *, is_over: bool) -> int:
    removed = _remove_merged(landing, day, zone.schema)  # what a run that was killed has left
    groups = _choose(landing, _list_readable(landing, day), is_over=is_over)
    for files in groups:
        _merge(landing, day, files, zone)
    return removed + (_remove_merged(landing, day, zone.schema) if groups else 0)


def _list_readable(landing: Landing, day: str) -> list[LandedFile]:
    """Return the stored files of a day, without merged files whose parts can't be read."""
    stored = []
    for file in landing.list_day_stored(day):
        try:
            landing.parts_of(file)
        except FileNotFoundError:
            continue  # another process has removed it
        except (pa.ArrowException, OSError) as error:
            logger.warning("Not compacted", extra={"path": file.path, "error": str(error)})
            continue
        stored.append(file)
    return stored


def _choose(landing: Landing, stored: Sequence[LandedFile], *, is_over: bool) -> list[list[LandedFile]]:
    """Return groups of files to merge: the small ones, and the merged ones of a day that is over if many."""
    merged = [file for file in stored if is_merged(file.path)]
    parts = landing.paths_in(merged)
    chosen = [file for file in stored if not is_merged(file.path) and file.path not in parts]
    if is_over and len(merged) > _MAX_MERGED_FILES:
        chosen += [file for file in merged if file.size_bytes < MAX_MERGED_BYTES // 2]
    return list(_groups(landing, chosen))


def _groups(landing: Landing, files: Sequence[LandedFile]) -> Iterator[list[LandedFile]]:
    """Yield groups of two or more files, each group of limited size."""
    group: list[LandedFile] = []
    size_bytes = part_count = 0
    for file in files:
        size_bytes += file.size_bytes
        part_count += max(1, len(landing.parts_of(file)))
        if len(group) > 1 and (size_bytes > MAX_MERGED_BYTES or part_count > _MAX_PARTS):
            yield group
            group, size_bytes, part_count = [], file.size_bytes, max(1, len(landing.parts_of(file)))
        group.append(file)
    if len(group) > 1:
        yield group


def _merge(landing: Landing, day: str, files: Sequence[LandedFile], zone: Zone) -> None:
    identity = hashlib.sha256("\n".join(file.path for file in files).encode()).hexdigest()[:16]
    path = f"{day}/{merged_name(identity)}.parquet"
    parts: list[Part] = []

    def rows() -> Iterator[pa.Table]:
        first_row = 0
        for file, table in _read_ours(landing, files, zone):
            parts.append(Part(file.path, file.size_bytes, path, first_row, table.num_rows))
            first_row += table.num_rows
            yield table

    # The metadata is made at the end, when all parts are known.
    landing.write_file(path, _row_groups(rows()), zone.schema, lambda: parts_metadata(parts))
    logger.info("Merged", extra={"path": path, "files": len(parts)})


def _read_ours(
    landing: Landing, files: Sequence[LandedFile], zone: Zone
) -> Iterator[tuple[LandedFile, pa.Table]]:
    """Yield small files with their rows, those in merged files too, each path once.

    Raises:
        OSError: None of the files can be read, so it is the store that failed.
        pa.ArrowInvalid: None of the files can be read.
    """
    small = list({part.path: part for file in files for part in landing.parts_of(file) or [file]}.values())
    errors: list[Exception] = []
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(small), _READ_AHEAD):
            some = small[start : start + _READ_AHEAD]
            tables = readers.map(lambda file: _read(landing, file, zone), some)
            for file, table in zip(some, tables, strict=True):
                if isinstance(table, pa.Table):
                    yield file, table
                    continue
                errors.append(table)
                logger.warning("Not merged", extra={"path": file.path, "error": str(table)})
    if len(errors) == len(small):
        raise errors[0]


def _read(landing: Landing, file: LandedFile, zone: Zone) -> pa.Table | Exception:
    try:
        table = landing.read(file, zone.schema)
    except (pa.ArrowException, OSError) as error:
        return error
    misplacement = find_misplacement(file.path, table, zone)
    return table if misplacement is None else pa.ArrowInvalid(misplacement)


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    size_bytes = 0
    for table in tables:
        waiting.append(table)
        size_bytes += table.nbytes
        if size_bytes >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, size_bytes = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _remove_merged(landing: Landing, day: str, schema: pa.Schema) -> int:
    """Remove the files of a day whose rows are all in a merged file, and return their number."""
    stored = _list_readable(landing, day)
    parts = {file: landing.parts_of(file) for file in stored if is_merged(file.path)}
    places = {part.path: part for listed in parts.values() for part in listed}
    copies = [([file], places) for file in stored if file.path in places]
    # Two processes must not each remove another one of two equal files, so the order says which one stays.
    kept: list[dict[str, LandedFile]] = []
    for file in sorted(parts, key=lambda file: (-len(parts[file]), file.path)):
        paths = {part.path for part in parts[file]}
        other = next((other for other in kept if paths <= other.keys()), None)
        if other is None:
            kept.append({part.path: part for part in parts[file]})
        else:
            copies.append((parts[file], other))
    is_refused = Event()

    def remove(files: Sequence[LandedFile], places: Mapping[str, LandedFile]) -> int:
        if is_refused.is_set():  # the store allows no other deletion either
            return 0
        try:
            return _remove(landing, files, places, schema)
        except NotRemovedError:
            is_refused.set()
            raise

    with ThreadPoolExecutor(_READERS) as pool:
        return _each([pool.submit(remove, *copy) for copy in copies], Future.result)


def _remove(
    landing: Landing, files: Sequence[LandedFile], places: Mapping[str, LandedFile], schema: pa.Schema
) -> int:
    """Remove the stored file that `files` are in, or are, once their rows were found in other places."""
    try:
        for file in files:
            if landing.read(file, schema) != landing.read_merged(places[file.path], schema):
                raise pa.ArrowInvalid(
                    f"{file.path} has other rows than the file that it was merged into, so both are kept. It "
                    "may have been landed again under the same name. Move it out of landing and inspect it."
                )
        landing.remove(files[0])
    except FileNotFoundError:
        return 0  # another process has removed it
    return 1


if __name__ == "__main__":
    compact_crowded(Landing(sys.argv[1]))
