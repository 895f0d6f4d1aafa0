"""Landing a segment's deliveries, each of them once, whatever landing holds already under the segment's name.

The comparison of a segment with what is landed belongs here. See `connector.journal.seal` for when segments
are landed and removed.

A landed file is named after its segment. So a name that is taken was landed by an earlier try that was
killed, or by a twin: a receiver on a cloned machine, a copied journal folder, a backup that was restored.
Deliveries that are landed already are recognised by their number, time and body. The others land under a name
and a `receiver_id` of their own, because two deliveries that share both `receiver_id` and `sequence` would
be taken for one.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from connector.journal.segment_reader import SegmentReader
from connector.landing.files import LandedFile, Landing
from connector.landing.writer import FileTakenError
from connector.landing.zones import EVENT_SCHEMA, EVENTS

_IDENTITY = pa.schema([EVENT_SCHEMA.field(name) for name in ("sequence", EVENTS.time_column, "body")])

_Identity = tuple[int, int, bytes]


class Landed(NamedTuple):
    """The landed files of a segment, and the id that its receiver needs now if a twin of it uses its own."""

    files: list[LandedFile]
    new_receiver_id: str | None = None


def land(path: Path, reader: SegmentReader, landing: Landing, *, is_new: bool) -> Landed:
    """Land the deliveries of a segment that are not landed yet.

    Args:
        path: The segment.
        reader: A reader of it.
        landing: Where to land them.
        is_new: Whether this process wrote it, so that most likely nothing of it is landed.

    Raises:
        OSError: The segment can't be read, or landing can't store it.
    """
    known = set() if is_new else _read_landed(reader, landing, path.stem)
    if not known:
        try:
            return Landed(landing.write_batches(reader.batches(), zone=EVENTS, name=path.stem))
        except FileTakenError:
            known = _read_landed(reader, landing, path.stem)
    new_receiver_id = f"{reader.receiver_id}~{digest_of(path)}"
    name = f"{new_receiver_id}-{path.stem.rpartition('-')[2]}"
    known |= _read_landed(reader, landing, name)
    rest = _without(known, reader.batches(), new_receiver_id)
    files = landing.write_batches(rest, zone=EVENTS, name=name)
    return Landed(files, new_receiver_id if files else None)


def digest_of(path: Path) -> str:
    """Return eight digits that tell files of different content apart.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _read_landed(reader: SegmentReader, landing: Landing, name: str) -> set[_Identity]:
    """Return the deliveries that are landed under a name, in the days of this segment."""
    days = {day for batch in reader.batches() for day in _days(batch)}
    known: set[_Identity] = set()
    for day in sorted(days):
        try:
            table = landing.read(LandedFile(f"date={day}/{name}.parquet", 0), _IDENTITY)
        except FileNotFoundError:
            continue
        except pa.ArrowInvalid:  # a damaged file is no copy of these deliveries, and it keeps its name
            continue
        known.update(identity for batch in table.to_batches() for identity in _identities(batch))
    return known


def _without(
    known: set[_Identity], batches: Iterable[pa.RecordBatch], receiver_id: str
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rest = batch.filter(pa.array([identity not in known for identity in _identities(batch)]))
        if rest.num_rows:
            columns = [pa.repeat(receiver_id, rest.num_rows), *rest.columns[1:]]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _identities(batch: pa.RecordBatch) -> Iterator[_Identity]:
    moments = batch[EVENTS.time_column].cast(pa.int64()).to_pylist()
    return zip(batch["sequence"].to_pylist(), moments, batch["body"].to_pylist(), strict=True)


def _days(batch: pa.RecordBatch) -> Iterator[str]:
    for moment in pc.floor_temporal(batch[EVENTS.time_column], unit="day").unique().to_pylist():
        yield f"{moment:%Y-%m-%d}"
