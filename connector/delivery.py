"""One webhook delivery as received, and how a group of them becomes an Arrow batch.

Only this shape and its conversion belong here; `connector.schemas` says what the columns mean.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from connector.schemas import EVENT_SCHEMA


class Delivery(NamedTuple):
    """One authenticated request. `received_at_us` is UTC, UNIX microseconds; header names are lower case."""

    received_at_us: int
    trace_id: str | None
    event_name: str | None
    verified_by: str
    problem: str | None
    headers: dict[str, str]
    body: bytes


def to_batch(receiver_id: str, first_sequence: int, deliveries: Sequence[Delivery]) -> pa.RecordBatch:
    """The deliveries as one batch of `EVENT_SCHEMA`, numbered on from `first_sequence`."""
    received_at_us, trace_ids, event_names, verified_by, problems, headers, bodies = zip(
        *deliveries, strict=True
    )
    count = len(deliveries)
    columns = [
        pa.array([receiver_id] * count, pa.string()),
        pa.array(range(first_sequence, first_sequence + count), pa.int64()),
        pa.array(received_at_us, EVENT_SCHEMA.field("received_at").type),
        pa.array(trace_ids, pa.string()),
        pa.array(event_names, pa.string()),
        pa.array(verified_by, pa.string()),
        pa.array(problems, pa.string()),
        _to_maps(headers),
        pa.array(bodies, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def _to_maps(headers: Sequence[dict[str, str]]) -> pa.MapArray:
    # Flat lists and offsets: several times cheaper than letting Arrow look into each dict.
    offsets = pa.array(accumulate(map(len, headers), initial=0), pa.int32())
    names = pa.array([name for each in headers for name in each], pa.string())
    values = pa.array([value for each in headers for value in each.values()], pa.string())
    return pa.MapArray.from_arrays(offsets, names, values)
