"""The zones of landing as relations that models load from.

What is read from a landed file belongs here, and how one is skipped that can't be read or is not ours. The
meaning of its rows does not: see `sql/staging/`.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from connector.landing.files import LandedFile, Landing
from connector.landing.ownership import find_foreign_name, find_misplacement
from connector.landing.zones import ACTIONS, AGENTS, CALLS, EVENT_SCHEMA, EVENTS, LISTED, PCA, Zone
from pipelines.models.model import Model
from pipelines.warehouse.reader import keep_events, keep_problems

Refine = Callable[[pa.Table], pa.Table]

# Files read at the same time: on a disk each keeps a core busy, in a bucket each waits for the network.
_READERS = 4


@dataclass(frozen=True)
class Source:
    """Some of a zone's columns and rows, with the name by which SQL refers to them.

    `where` is a column that is null in rows to leave out. Mostly it is null in a whole file, and then only
    that is read. `refine` selects the exact rows with the reader of today: a body that was no event before
    may be one now.
    """

    relation: str
    zone: Zone
    schema: pa.Schema
    where: str = ""
    refine: Refine = field(default=lambda rows: rows)


# Headers are most of a delivery's values, and are only needed if something is wrong with it.
_EVENT_COLUMNS = ("received_at", "trace_id", "event_name", "verified_by", "problem", "body")

SOURCES = (
    Source(
        "landed_events",
        EVENTS,
        pa.schema([EVENT_SCHEMA.field(name) for name in _EVENT_COLUMNS]),
        refine=keep_events,
    ),
    Source(
        "landed_problems",
        EVENTS,
        EVENT_SCHEMA,
        where="problem",
        refine=keep_problems,
    ),
    Source(
        "landed_mismatches",
        EVENTS,
        pa.schema(
            [
                field
                for field in EVENT_SCHEMA
                if field.name not in ("verified_by", "problem", "headers", "body")
            ]
        ),
        where="header_mismatch",
    ),
    *(Source(zone.relation, zone, zone.schema) for zone in (PCA, CALLS, AGENTS, LISTED, ACTIONS)),
)


@dataclass(frozen=True)
class FileCount:
    """The number of rows in a landed file, and the number of them that belong to the source."""

    path: str
    rows_read: int
    rows_taken: int


@dataclass(frozen=True)
class Chunk:
    """The rows of some landed files, with counts for each, and the reasons for skipped files.

    `unreadable` files may be readable later. `passed_over` are not ours, or copies of ours.
    """

    rows: pa.Table
    files: tuple[FileCount, ...]
    unreadable: dict[str, str]
    passed_over: dict[str, str]


def source_of(model: Model) -> Source | None:
    """Return the source that `model` loads from, or None if it reads tables."""
    return next((source for source in SOURCES if source.relation in model.upstream), None)


def read_chunk(source: Source, landing: Landing, files: Iterable[LandedFile]) -> Chunk:
    """Read files together. A file that can't be read or is not ours is skipped and affects no other."""
    tables: list[pa.Table] = []
    counts: list[FileCount] = []
    unreadable: dict[str, str] = {}
    passed_over: dict[str, str] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        for file, table in readers.map(lambda file: _read(source, landing, file), files):
            if isinstance(table, _NotOursError):
                passed_over[file.path] = str(table)
                continue
            if isinstance(table, Exception):
                unreadable[file.path] = str(table)
                continue
            taken = source.refine(table)
            tables.append(taken)
            counts.append(FileCount(file.path, table.num_rows, taken.num_rows))
    rows = pa.concat_tables(tables) if tables else source.schema.empty_table()
    # Arrow holds a third more memory than the rows need, and DuckDB needs it now.
    pa.default_memory_pool().release_unused()
    return Chunk(rows, tuple(counts), unreadable, passed_over)


def chunks_of(files: Sequence[LandedFile], *, size_bytes: int, file_count: int) -> list[list[LandedFile]]:
    """Split files into groups of limited size. Without files, return a single empty group."""
    groups: list[list[LandedFile]] = [[]]
    room_bytes = size_bytes
    for file in files:
        if groups[-1] and (file.size_bytes > room_bytes or len(groups[-1]) >= file_count):
            groups.append([])
            room_bytes = size_bytes
        groups[-1].append(file)
        room_bytes -= file.size_bytes
    return groups


class _NotOursError(Exception):
    """A file that does not stand where its rows belong. The message says why."""


def _read(source: Source, landing: Landing, file: LandedFile) -> tuple[LandedFile, pa.Table | Exception]:
    try:
        return file, _read_ours(source, landing, file)
    except (_NotOursError, pa.ArrowException, ValueError, OSError) as error:
        return file, error


def _read_ours(source: Source, landing: Landing, file: LandedFile) -> pa.Table:
    if reason := find_foreign_name(file.path):
        raise _NotOursError(reason)
    zone, wanted = source.zone, set(source.schema.names)
    if source.where:
        wanted = {source.where}
    wanted |= {zone.writer_column, zone.time_column}
    table = landing.read(file, pa.schema([each for each in zone.schema if each.name in wanted]))
    if reason := find_misplacement(file.path, table, zone):
        raise _NotOursError(reason)
    if not source.where:
        return table.select(source.schema.names)
    if table[source.where].null_count == table.num_rows:
        return source.schema.empty_table()
    return landing.read(file, source.schema, where=pc.field(source.where).is_valid())
