"""A simulated Verbex account: one value from which webhooks, API answers and the truth all follow.

Belongs here: building the account and finding things in it. It is pure: one seed and one start give the same
world on every machine, and asking for one thing never changes another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from connector.simulator import pca
from connector.simulator.agents import Agent, build_agents
from connector.simulator.calls import Call, build_calls
from connector.simulator.chance import rng_for, uuid_from
from connector.simulator.deliveries import Dispatch, plan_deliveries
from connector.simulator.details import call_details
from connector.simulator.events import Event, account_events, events_of

DEFAULT_START = datetime(2025, 11, 10, tzinfo=UTC)
DEFAULT_SPAN_S = 6 * 3600.0


@dataclass(frozen=True)
class World:
    """An account with its agents and calls; build one with `World.build`."""

    seed: int
    start_us: int
    organization_id: str
    agents: tuple[Agent, ...]
    calls: tuple[Call, ...]

    @classmethod
    def build(
        cls,
        *,
        seed: int = 1,
        calls: int = 40,
        agents: int = 4,
        start_at: datetime = DEFAULT_START,
        span_s: float = DEFAULT_SPAN_S,
        revisions: float = 0.0,
    ) -> Self:
        """Build a world.

        Args:
            seed: What everything that is left to chance follows from.
            calls: How many calls; each course appears at least once from seven calls on.
            agents: How many agents; the first four have the four profiles of PCA items.
            start_at: When the first call can start; with a time zone.
            span_s: Calls start within so many seconds of `start_at`.
            revisions: The share of announced PCAs that are announced a second time, with other results.
        """
        rng = rng_for(seed, "world")
        start_us = int(start_at.timestamp()) * 1_000_000
        organization_id = uuid_from(rng)
        staff = build_agents(rng, agents)
        return cls(
            seed=seed,
            start_us=start_us,
            organization_id=organization_id,
            agents=staff,
            calls=build_calls(
                rng,
                count=calls,
                organization_id=organization_id,
                agents=staff,
                start_us=start_us,
                span_s=span_s,
                revisions=revisions,
            ),
        )

    @cached_property
    def call_by_id(self) -> dict[str, Call]:
        """Every call under its `call_id`."""
        return {call.call_id: call for call in self.calls}

    @cached_property
    def agent_by_id(self) -> dict[str, Agent]:
        """Every agent under its `agent_id`."""
        return {agent.agent_id: agent for agent in self.agents}

    def events(self) -> Iterator[Event]:
        """Every webhook there is to send, call by call."""
        for call in self.calls:
            yield from events_of(call, self.seed)
        if self.calls:
            yield from account_events(self.organization_id, self.calls[-1].started_us, self.seed)

    def deliveries(
        self, *, duplicates: float = 0.05, disorder: float = 0.1, losses: float = 0.0
    ) -> list[Dispatch]:
        """The webhooks as they are delivered: some twice, late or never; sorted by the time of sending."""
        return plan_deliveries(
            rng_for(self.seed, "deliveries"),
            self.events(),
            start_us=self.start_us,
            duplicates=duplicates,
            disorder=disorder,
            losses=losses,
        )

    def details(self, call: Call) -> dict[str, Any]:
        """What `GET /v1/calls/{id}` answers for `call`."""
        return call_details(call, self.seed)

    def pca_items(self, call: Call) -> list[dict[str, Any]]:
        """The items of `call`'s PCA in its newest revision; empty if it has none."""
        return pca.pca_items(call, self.seed, self._newest(call)) if call.has_results else []

    def pca_answer(self, call: Call, now_us: int | None = None) -> dict[str, Any]:
        """What the PCA endpoint answers for `call` at `now_us` (default: when all is said and done)."""
        is_ready = call.pca_us is not None and (now_us is None or now_us >= call.pca_us)
        if not (call.has_results and is_ready):
            return pca.pca_not_ready(call)
        is_before_revision = now_us is not None and call.revised_us is not None and now_us < call.revised_us
        return pca.pca_answer(call, self.seed, 0 if is_before_revision else self._newest(call))

    def _newest(self, call: Call) -> int:
        return 1 if call.revised_us else 0
