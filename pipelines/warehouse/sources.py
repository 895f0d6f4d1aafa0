"""The zones of landing as relations that models load from.

What of a landed file is read, and how a file that can't be read is set aside, belongs here. What its rows
mean does not.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from connector.landing.files import LandedFile, Landing
from connector.landing.zones import AGENTS, CALLS, EVENT_SCHEMA, EVENTS, LISTED, PCA, Zone
from connector.verbex.envelope import Envelope, read_envelope
from pipelines.models.model import Model

Refine = Callable[[pa.Table], pa.Table]

# Files read at once: each keeps a core busy where they lie on a disk, and waits where they lie in a bucket.
_READERS = 4


def reread(table: pa.Table) -> pa.Table:
    """Read once more the bodies of the rows that carry a problem, with the reader as it is today.

    So a rebuild replays the quarantine: once the reader learns to read a body, its row becomes an event.

    Args:
        table: Landed deliveries, of `EVENT_SCHEMA`.

    Returns:
        The same rows in the same order; only `trace_id`, `event_name` and `problem` may differ.
    """
    is_problem = pc.is_valid(table["problem"])
    again = [read_envelope(body.as_py()) for body in table["body"].filter(is_problem)]
    for position, name in enumerate(Envelope._fields):
        values = pa.array([envelope[position] for envelope in again], pa.string())
        index = table.schema.get_field_index(name)
        replaced = pc.replace_with_mask(table[name].combine_chunks(), is_problem.combine_chunks(), values)
        table = table.set_column(index, EVENT_SCHEMA.field(name), replaced)
    return table


def _events_only(rows: pa.Table) -> pa.Table:
    if rows["problem"].null_count == rows.num_rows:
        return rows  # filtering copies, and mostly there is nothing to leave out
    rows = reread(rows)
    return rows.filter(pc.is_null(rows["problem"]))


def _problems_only(rows: pa.Table) -> pa.Table:
    rows = reread(rows)
    return rows.filter(pc.is_valid(rows["problem"]))


@dataclass(frozen=True)
class Source:
    """Some of a zone's columns and rows, under the name that SQL knows them by.

    `where` is what row groups are skipped by; `refine` says
    exactly which rows it is, by the reader of today: a body that was no event yesterday may be one now.
    """

    relation: str
    zone: Zone
    schema: pa.Schema
    where: pc.Expression | None = None
    refine: Refine = field(default=lambda rows: rows)


# Headers are most of a delivery's values and only of interest where something is wrong with it.
_EVENT_COLUMNS = ("received_at", "trace_id", "event_name", "verified_by", "problem", "body")

SOURCES = (
    Source(
        "landed_events",
        EVENTS,
        pa.schema([EVENT_SCHEMA.field(name) for name in _EVENT_COLUMNS]),
        refine=_events_only,
    ),
    Source(
        "landed_problems",
        EVENTS,
        EVENT_SCHEMA,
        where=pc.field("problem").is_valid(),
        refine=_problems_only,
    ),
    *(Source(zone.relation, zone, zone.schema) for zone in (PCA, CALLS, AGENTS, LISTED)),
)


@dataclass(frozen=True)
class FileCount:
    """How many rows a landed file has, and how many of them the source takes."""

    path: str
    rows_read: int
    rows_taken: int


@dataclass(frozen=True)
class Chunk:
    """Rows of some landed files, each file counted; `unreadable` says why any is left out."""

    rows: pa.Table
    files: tuple[FileCount, ...]
    unreadable: dict[str, str]


def source_of(model: Model) -> Source | None:
    """The source that `model` loads from; None if it reads tables."""
    return next((source for source in SOURCES if source.relation in model.upstream), None)


def read_chunk(source: Source, landing: Landing, files: Iterable[LandedFile]) -> Chunk:
    """Read files together; one that can't be read is set aside and spoils nothing."""
    tables: list[pa.Table] = []
    counts: list[FileCount] = []
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        for file, table in readers.map(lambda file: _read(source, landing, file), files):
            if isinstance(table, Exception):
                unreadable[file.path] = str(table)
                continue
            taken = source.refine(table)
            tables.append(taken)
            counts.append(FileCount(file.path, table.num_rows, taken.num_rows))
    rows = pa.concat_tables(tables) if tables else source.schema.empty_table()
    pa.default_memory_pool().release_unused()  # a third more than the rows take, which DuckDB needs now
    return Chunk(rows, tuple(counts), unreadable)


def chunks_of(files: Sequence[LandedFile], *, size_bytes: int, file_count: int) -> list[list[LandedFile]]:
    """Files in groups of bounded size; a single empty group if there are none."""
    groups: list[list[LandedFile]] = [[]]
    room_bytes = size_bytes
    for file in files:
        if groups[-1] and (file.size_bytes > room_bytes or len(groups[-1]) >= file_count):
            groups.append([])
            room_bytes = size_bytes
        groups[-1].append(file)
        room_bytes -= file.size_bytes
    return groups


def _read(source: Source, landing: Landing, file: LandedFile) -> tuple[LandedFile, pa.Table | Exception]:
    try:
        return file, landing.read(file, source.schema, where=source.where)
    except (pa.ArrowException, ValueError, OSError) as error:
        return file, error
