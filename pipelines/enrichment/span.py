"""Days and agents: of which calls something is asked, as typed on a command line or in Dagster's launchpad.

Only the choice belongs here. What is asked of the calls chosen is for the callers.
"""

from dataclasses import dataclass
from datetime import date
from typing import Self

import dagster as dg
from pydantic import Field


class SpanConfig(dg.Config):
    """A span as a run is told of it."""

    since: str = Field("", description="First UTC day of the calls, as 2025-11-30; empty for all.")
    until: str = Field("", description="Last UTC day of the calls; empty for all.")
    agents: list[str] = Field([], description="Calls of these agents only; none for all.")


@dataclass(frozen=True)
class Span:
    """The UTC days from `since` to `until`, both included, of some agents or (none) of all."""

    since: date = date.min
    until: date = date.max
    agent_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: SpanConfig, *, since: date = date.min, until: date = date.max) -> Self:
        """The span that a run is told, `since` and `until` in place of what it is not told.

        Raises:
            ValueError: What it is told is no day; says which.
        """
        first = _day("since", config.since) if config.since else since
        last = _day("until", config.until) if config.until else until
        return cls(first, last, tuple(config.agents))

    def as_config(self) -> dict[str, object]:
        """The fields of a `SpanConfig` that tells this span."""
        return {"since": str(self.since), "until": str(self.until), "agents": list(self.agent_ids)}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a day such as 2025-11-30, and is {text!r}.") from None
