"""One webhook delivery as received, and its two forms: a group in the journal, a batch in landing.

Only this shape and its conversions belong here. See `connector.landing.zones` for the meaning of the columns.

The journal uses MessagePack because senders wait while it is encoded: a group of 25 takes a tenth of the time
of nine Arrow arrays. Arrow is used at sealing, for thousands of rows at once.
"""

from collections.abc import Sequence
from itertools import accumulate, chain

import msgspec
import pyarrow as pa

from connector.landing.zones import EVENT_SCHEMA
from connector.verbex.mismatch import find_mismatch


# gc=False for both: there are many thousands of them, and they can't form reference cycles.
class Delivery(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One authenticated request. `received_at_us` is UTC, UNIX microseconds. Header names are lower case."""

    received_at_us: int
    trace_id: str | None
    event_name: str | None
    verified_by: str
    problem: str | None
    headers: dict[str, str]
    body: bytes


class Group(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The deliveries that one fsync made durable, numbered from `first_sequence`."""

    first_sequence: int
    deliveries: Sequence[Delivery]


encode_group = msgspec.msgpack.Encoder().encode
decode_group = msgspec.msgpack.Decoder(Group).decode


def to_batch(receiver_id: str, groups: Sequence[Group]) -> pa.RecordBatch:
    """Return the deliveries of one receiver's groups as a batch of `EVENT_SCHEMA`, in the same order."""
    deliveries = list(chain.from_iterable(group.deliveries for group in groups))
    columns = [
        pa.repeat(receiver_id, len(deliveries)),
        pa.array(_sequences(groups), pa.int64()),
        pa.array([each.received_at_us for each in deliveries], EVENT_SCHEMA.field("received_at").type),
        pa.array([each.trace_id for each in deliveries], pa.string()),
        pa.array([each.event_name for each in deliveries], pa.string()),
        pa.array([each.verified_by for each in deliveries], pa.string()),
        pa.array([each.problem for each in deliveries], pa.string()),
        _to_maps([each.headers for each in deliveries]),
        pa.array([each.body for each in deliveries], pa.binary()),
        pa.array([_mismatch(each) for each in deliveries], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def _mismatch(delivery: Delivery) -> str | None:
    if delivery.problem is not None:
        return None
    return find_mismatch(delivery.headers, delivery.body, delivery.trace_id, delivery.event_name)


def _sequences(groups: Sequence[Group]) -> list[int]:
    return [group.first_sequence + position for group in groups for position in range(len(group.deliveries))]


def _to_maps(headers: Sequence[dict[str, str]]) -> pa.MapArray:
    # Flat lists and offsets are several times faster than letting Arrow read each dict.
    offsets = pa.array(list(accumulate(map(len, headers), initial=0)), pa.int32())
    names = pa.array(list(chain.from_iterable(headers)), pa.string())
    values = pa.array(list(chain.from_iterable(each.values() for each in headers)), pa.string())
    return pa.MapArray.from_arrays(offsets, names, values)
