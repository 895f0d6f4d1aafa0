"""A span of days and agents as typed in Dagster's launchpad.

Its form as a run's configuration belongs here. The span itself does not: see `pipelines.enrichment.span`.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.enrichment.span import Span


class SpanConfig(dg.Config):
    """A span in the configuration of a run."""

    since: str = Field("", description="First day of the calls, such as 2025-11-30. Empty for all days.")
    until: str = Field("", description="Last day of the calls. Empty for all days.")
    agents: list[str] = Field([], description="Only calls of these agents. Empty for all agents.")

    def span(self, default: Span | None = None) -> Span:
        """Return the span, with the days of `default` where none are given.

        Raises:
            ValueError: A text is not a day. The message says which.
        """
        return Span.parse(self.since, self.until, self.agents, default=default)


def step_config(step: str, span: Span, **more: object) -> dict[str, Any]:
    """Return the configuration of a run that gives `step` this span, and the fields in `more`."""
    config = {"since": str(span.since), "until": str(span.until), "agents": list(span.agent_ids)}
    return {"ops": {step: {"config": config | more}}}
