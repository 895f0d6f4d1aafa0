"""Arrow schemas of what lands, stated once; readers, writers and docs derive from them.

Only shapes belong here. How rows come to be is said by `connector.receiver.handler` and
`connector.fetch.calls`.
"""

import pyarrow as pa

_UTC_US = pa.timestamp("us", tz="UTC")

EVENT_SCHEMA = pa.schema(
    [
        pa.field("receiver_id", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("received_at", _UTC_US, nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("event_name", pa.string()),
        pa.field("verified_by", pa.string(), nullable=False),
        pa.field("problem", pa.string()),
        pa.field("headers", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
    ]
)
"""One row per delivery, also one that can't be read. Grain: `receiver_id`, `sequence`.

`verified_by` is `signature`, `token` or `unsigned`; `problem` says why a body is no event, null if it
is one; `headers` never holds a credential; `body` is exactly the bytes received.
"""

ANSWER_SCHEMA = pa.schema(
    [
        pa.field("fetcher_id", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("attempted_at", _UTC_US, nullable=False),
        pa.field("call_id", pa.string(), nullable=False),
        pa.field("agent_id", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("http_status", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("retry_at", _UTC_US),
        pa.field("body", pa.binary()),
    ]
)
"""One row per attempt to fetch something of a call. Grain: `fetcher_id`, `sequence`.

`outcome` is `answered` (`body` holds the answer, credentials removed), `pending` (nothing there yet),
`failed` (the API or the network did; `error` says how) or `unavailable` (given up, no further try
unless somebody asks for it).
`retry_at` is set for `pending` and `failed`.

In the zone of agents, whose PCA configurations are fetched, `call_id` is empty.

In the zone of listed calls `outcome` is `listed` or `backfilled` (`body` is the call as listed, credentials
removed; only what is backfilled becomes part of our calls), or `swept`: `body` names a window of time that
was read to its end, `call_id` is empty.
"""
