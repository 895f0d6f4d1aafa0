"""A choice of calls by their days and agents.

Only the choice belongs here. What is asked about these calls does not: the callers decide that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self


@dataclass(frozen=True)
class Span:
    """The days from `since` to `until` of some agents, or of all if none is named.

    Both days are included. They are days of `VERBEX_TIME_ZONE`.
    """

    since: date = date.min
    until: date = date.max
    agent_ids: tuple[str, ...] = ()

    @classmethod
    def parse(cls, since: str, until: str, agent_ids: Sequence[str], *, default: Self | None = None) -> Self:
        """Build a span from texts. An empty day is taken from `default`.

        Raises:
            ValueError: A text is not a day. The message says which.
        """
        other = default or cls()
        first = _day("since", since) if since else other.since
        last = _day("until", until) if until else other.until
        return cls(first, last, tuple(agent_ids))

    def parameters(self) -> dict[str, object]:
        """Return the span as parameters of the queries in `sql/queries/`."""
        return {"since": self.since, "until": self.until, "agent_ids": list(self.agent_ids)}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a day such as 2025-11-30, but it is {text!r}.") from None
