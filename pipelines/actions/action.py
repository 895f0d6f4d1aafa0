"""One thing to do, as it is decided once and stays, and what became of one attempt at it.

These shapes belong here. Deciding and sending do not: see `pipelines.actions.decide` and the senders
`pipelines.actions.http`, `pipelines.actions.email` and `pipelines.actions.dial`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["http", "email", "dial"]
"""The kinds of action, as the header field `action:` of a rule names them."""

Result = Literal["sent", "failed", "tried", "unknown", "expired", "cancelled"]
"""What an attempt came to: `tried` is tried again, `unknown` waits for a person. All others are the end."""


@dataclass(frozen=True)
class Action:
    """One thing that a rule wants done. All attempts at it send the same.

    Attributes:
        action_id: Its identity, the same in all attempts, on every machine and after a rebuild: made of the
            rule's name, `identity` and `revision`. ASCII letters, digits and `_` only.
        rule: The name of the rule.
        kind: How it is done.
        identity: The values of the columns in `once per:`, as a JSON object.
        revision: 1, or how often the columns in `again when:` have changed and made it another action.
        call_id: The call that it is about; None if the rule has no column of that name.
        happened_at: When the fact happened that set it off, UTC.
        intended_at: When it was decided, UTC.
        due_at: The earliest time to do it, UTC.
        expires_at: The time after which it is not done any more, UTC; None for never.
        body: What is sent: a JSON object of the rule's columns, UTF-8. See each sender for its columns.
        keep: The JSON fields of the answer to keep, as `keep:` names them: dotted paths.
        cause: The values of the columns in `again when:`, as a JSON object; None if there are none.
        lane: The values of the columns in `in order of:`, or of what can change, as a JSON object; None if
            any order will do.
    """

    action_id: str
    rule: str
    kind: Kind
    identity: str
    revision: int
    call_id: str | None
    happened_at: datetime
    intended_at: datetime
    due_at: datetime
    expires_at: datetime | None
    body: bytes
    keep: tuple[str, ...] = ()
    cause: str | None = None
    lane: str | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one attempt.

    Attributes:
        result: What it came to.
        http_status: The status of the answer; None if there was none, or not over HTTP.
        error: Why it is not `sent`, for people: without credentials, one line.
        retry_after_s: How long the other side asks us to wait before the next attempt [s].
        body: What the other side answered, at most `MOST_ANSWER_BYTES`, without credentials.
        links: The fields of the answer that the rule keeps, by their paths.
    """

    result: Result
    http_status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    body: bytes | None = None
    links: Mapping[str, str] = field(default_factory=dict)


MOST_ANSWER_BYTES = 64 * 1024
"""How much of an answer is kept [bytes]."""
