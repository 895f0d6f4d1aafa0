"""A span of days and agents as typed in Dagster's launchpad.

What a span is stands in `pipelines.enrichment.span`.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.enrichment.span import Span


class SpanConfig(dg.Config):
    """A span as a run is given it."""

    since: str = Field("", description="First UTC day of the calls, as 2025-11-30; empty for all.")
    until: str = Field("", description="Last UTC day of the calls; empty for all.")
    agents: list[str] = Field([], description="Calls of these agents only; none for all.")

    def span(self, default: Span | None = None) -> Span:
        """The span, its days those of `default` where none are given.

        Raises:
            ValueError: What is given is not a day; the message says which.
        """
        return Span.parse(self.since, self.until, self.agents, default=default)


def step_config(step: str, span: Span, **more: object) -> dict[str, Any]:
    """The configuration of a run that gives `step` this span, and `more` fields."""
    config = {"since": str(span.since), "until": str(span.until), "agents": list(span.agent_ids)}
    return {"ops": {step: {"config": config | more}}}
