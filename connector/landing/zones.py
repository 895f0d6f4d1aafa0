"""The zones of landing, each defined once: its folder, its schema, the time that partitions its files.

Only shapes belong here. See `connector.receiver.handler` and `connector.fetch` for where rows come from.
Readers, writers, the graph in Dagster and the documents use these definitions.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

VerifiedBy = Literal["signature", "token", "unsigned"]
"""The proof of who sent a delivery."""

Outcome = Literal["answered", "pending", "failed", "unavailable", "listed", "backfilled", "swept"]
"""The result of an attempt."""

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
        pa.field("header_mismatch", pa.string()),
    ]
)
"""One row per delivery, even if it can't be read. Grain: `receiver_id`, `sequence`.

`verified_by` is a `VerifiedBy`. `problem` says why a body is not an event, and is null if it is one.
`headers` never holds a credential. `body` is exactly the bytes received.
`header_mismatch` names a header of an event that says something else than its body. It is null if none does,
and in files that were landed before there was such a column.
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
        pa.field("attempt_number", pa.int32()),
        pa.field("announcements", pa.int32()),
    ]
)
"""One row per attempt to fetch something of a call. Grain: `fetcher_id`, `sequence`.

`outcome` is `answered` (`body` holds the answer, credentials removed), `pending` (Verbex has nothing yet),
`failed` (the API or the network failed; `error` says how) or `unavailable` (no further try, unless a person
asks for one). `retry_at` is set for `pending` and `failed`.

`attempt_number` counts the attempts for the same call or agent that were known when it was asked for, this
one included: it orders them, whatever the clocks of the machines showed. `announcements` is the number of
announcements of its analysis that were known then: only these are answered. In the zone of listed calls,
`attempt_number` counts the sweeps. Both are null in files that were landed before there were such columns.

In the zone of agents, whose PCA configurations are fetched, `call_id` is empty.

In the zone of listed calls, `outcome` is `listed` or `backfilled` (`body` is the call as listed, credentials
removed; only backfilled calls become part of our calls), or `swept`: `body` names a window of time that was
read to its end, and `call_id` is empty.
"""

ACTION_SCHEMA = pa.schema(
    [
        pa.field("actor_id", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("recorded_at", _UTC_US, nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("action_id", pa.string()),
        pa.field("step_number", pa.int32()),
        pa.field("kind", pa.string()),
        pa.field("identity", pa.string()),
        pa.field("revision", pa.int32()),
        pa.field("cause", pa.string()),
        pa.field("lane", pa.string()),
        pa.field("call_id", pa.string()),
        pa.field("happened_at", _UTC_US),
        pa.field("due_at", _UTC_US),
        pa.field("expires_at", _UTC_US),
        pa.field("http_status", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("body", pa.binary()),
        pa.field("links", pa.map_(pa.string(), pa.string())),
    ]
)
"""One row per step of an action, or of a rule. Grain: `actor_id`, `sequence`.

`step` is a `Step`. Those of a rule have no `action_id`: `named` (it acts on what happens from `due_at` on,
and `cause` is the version of its SQL) and `unnamed`. Those of an action are ordered by `step_number`, which
counts the steps that were known, this one included, whatever the clocks of the machines showed.

`intended` holds all about the action: `body` is what is to be sent, `identity` what it is done once per (a
JSON object), `cause` the values whose change makes it be done again (a JSON object), and `lane` what its
actions are in order of. A person's step is `retried`, `cancelled` or `settled`, with `cause` `sent` or
`failed`. Of an attempt, `body` is what the other side answered, credentials removed, and `links` the fields
of it that the rule keeps. `due_at` is the earliest time of the next attempt.
"""

# fmt: off
Step = Literal[
    "named", "unnamed", "intended", "held", "started", "tried", "sent", "failed", "unknown", "expired",
    "cancelled", "retried", "settled",
]
# fmt: on
"""What happened to an action, or to a rule."""


@dataclass(frozen=True, eq=False)
class Zone:
    """A part of landing whose rows have one schema. `ZONES` lists all of them.

    Attributes:
        name: The name that `relation`, its name in SQL and in the graph, is made from.
        folder: Its folder in landing, with one folder per UTC day in it; empty for landing's root.
        schema: The Arrow schema of its rows.
        time_column: The column, UTC, whose date decides in which day folder a row is.
        description: One sentence for people.
    """

    name: str
    folder: str
    schema: pa.Schema
    time_column: str
    description: str

    @property
    def relation(self) -> str:
        """The name of its rows in the graph and in SQL."""
        return f"landed_{self.name}"

    @property
    def writer_column(self) -> str:
        """The column with the id of the process that wrote a row, after which landed files are named."""
        return str(self.schema.field(0).name)


def _answers(name: str, description: str) -> Zone:
    return Zone(name, name, ANSWER_SCHEMA, "attempted_at", description)


EVENTS = Zone("events", "", EVENT_SCHEMA, "received_at", "Webhook deliveries, as the receiver stored them.")
PCA = _answers("pca", "Attempts to fetch post-call analyses, with their raw answers.")
CALLS = _answers("calls", "Attempts to fetch call details, with their raw answers.")
AGENTS = _answers("agents", "Attempts to fetch agents' PCA configurations, with their raw answers.")
LISTED = _answers("listed", "Calls as Verbex lists them, and the days that were read to their ends.")
ACTIONS = Zone(
    "actions", "actions", ACTION_SCHEMA, "recorded_at", "What rules set off, and each attempt to do it."
)

ZONES = (EVENTS, PCA, CALLS, AGENTS, LISTED, ACTIONS)


def zone_of(path: str) -> Zone:
    """Return the zone of the landed file with this path, which is relative to the landing root.

    Raises:
        KeyError: No zone has this folder.
    """
    folder = path.partition("date=")[0].rstrip("/")
    return {zone.folder: zone for zone in ZONES}[folder]
