"""A simulated Verbex account: one value that determines webhooks, API answers and the truth.

Building the account and finding things in it belong here. There are no side effects: the same seed and start
give the same world on every machine, and reading one thing never changes another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """An account with its agents and calls. Build one with `World.build`."""

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
            seed: The seed of all random values.
            calls: The number of calls. With seven or more, each course appears at least once.
            agents: The number of agents. The first four have the four profiles of PCA items.
            start_at: The earliest start of a call, with a time zone.
            span_s: The calls start within this many seconds after `start_at`.
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

    def followed_by(self, later: Self) -> Self:
        """Return this world with the calls of another one of the same seed, which begin later."""
        return replace(self, calls=self.calls + later.calls)

    @cached_property
    def call_by_id(self) -> dict[str, Call]:
        """Every call by its `call_id`."""
        return {call.call_id: call for call in self.calls}

    @cached_property
    def agent_by_id(self) -> dict[str, Agent]:
        """Every agent by its `agent_id`."""
        return {agent.agent_id: agent for agent in self.agents}

    def events(self) -> Iterator[Event]:
        """Yield every webhook to send, call by call."""
        for call in self.calls:
            yield from events_of(call, self.seed)
        if self.calls:
            yield from account_events(self.organization_id, self.calls[-1].started_us, self.seed)

    def deliveries(
        self, *, duplicates: float = 0.05, disorder: float = 0.1, losses: float = 0.0
    ) -> list[Dispatch]:
        """Return the webhooks as delivered: some twice, late or never; sorted by the time of sending."""
        return plan_deliveries(
            rng_for(self.seed, "deliveries"),
            self.events(),
            start_us=self.start_us,
            duplicates=duplicates,
            disorder=disorder,
            losses=losses,
        )

    def details(self, call: Call) -> dict[str, Any]:
        """Return the answer of `GET /v1/calls/{id}` for `call`."""
        return call_details(call, self.seed)

    def pca_items(self, call: Call) -> list[dict[str, Any]]:
        """Return the items of `call`'s PCA in its newest revision, or an empty list if it has none."""
        return pca.pca_items(call, self.seed, self._newest(call)) if call.has_results else []

    def pca_answer(self, call: Call, now_us: int | None = None) -> dict[str, Any]:
        """Return the answer of the PCA endpoint for `call` at `now_us` (default: the final answer)."""
        is_ready = call.pca_us is not None and (now_us is None or now_us >= call.pca_us)
        if not (call.has_results and is_ready):
            return pca.pca_not_ready(call)
        is_before_revision = now_us is not None and call.revised_us is not None and now_us < call.revised_us
        return pca.pca_answer(call, self.seed, 0 if is_before_revision else self._newest(call))

    def _newest(self, call: Call) -> int:
        return 1 if call.revised_us else 0
