"""The agents of a simulated account and the PCA items they are configured with.

The answers of `GET /v2/ai-agents/{id}/postcall-analysis` belong here. See `connector.simulator.pca` for the
results of a call.

Customers choose item names freely, so the profiles below have names as in real accounts: Japanese, spaces
(also at the end), one name used twice, names that differ only by case, and an agent with 60 items.
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from connector.simulator.chance import uuid_from

ItemType = Literal["string", "enum", "boolean", "number"]
MODEL = "gpt-4.1-mini"
MANY_ITEMS = 60


@dataclass(frozen=True, slots=True)
class PcaItem:
    """One configured PCA item. Only the type `enum` has `choices`."""

    type: ItemType
    name: str
    choices: tuple[str, ...] = ()

    def configuration(self) -> dict[str, Any]:
        """Return the item as the API shows it, without unset fields."""
        shown: dict[str, Any] = {
            "type": self.type,
            "name": self.name,
            "description": f"{self.name.strip()} of the call",
            "analysis_prompt": f"Read the transcript and state: {self.name.strip()}",
        }
        if self.choices:
            shown["choices"] = list(self.choices)
        return {**shown, "temperature": 0.2, "model": MODEL}


@dataclass(frozen=True, slots=True)
class Agent:
    """One AI agent. If `is_bare`, its PCA answers have no `data` wrapper."""

    agent_id: str
    name: str
    items: tuple[PcaItem, ...]
    is_bare: bool

    def configuration(self) -> dict[str, Any]:
        """Return the answer to `GET /v2/ai-agents/{id}/postcall-analysis`."""
        return {
            "ai_agent_id": self.agent_id,
            "items": [item.configuration() for item in self.items],
            "created_at": "2025-06-01T00:00:00Z",
            "updated_at": "2025-10-01T00:00:00Z",
        }


def build_agents(rng: random.Random, count: int) -> tuple[Agent, ...]:
    """Return `count` agents that use the profiles in turn. Every third one is bare."""
    names = list(_PROFILES)
    return tuple(
        Agent(
            agent_id=uuid_from(rng),
            name=names[index % len(names)] + (f" {index // len(names) + 1}" if index >= len(names) else ""),
            items=_PROFILES[names[index % len(names)]],
            is_bare=index % 3 == 2,
        )
        for index in range(count)
    )


def _many_items() -> tuple[PcaItem, ...]:
    kinds: tuple[ItemType, ...] = ("string", "boolean", "number")
    return tuple(PcaItem(kinds[n % 3], f"確認項目 {n + 1:02d}") for n in range(MANY_ITEMS))


_PROFILES: dict[str, tuple[PcaItem, ...]] = {
    "Reservations": (
        PcaItem("string", "Call Summary"),
        PcaItem("enum", "Customer Sentiment", ("positive", "neutral", "negative")),
        PcaItem("boolean", "Reservation Made"),
        PcaItem("number", "Party Size"),
    ),
    "予約受付": (
        PcaItem("string", "通話の要約"),
        PcaItem("enum", "お客様の感情", ("ポジティブ", "ニュートラル", "ネガティブ")),
        PcaItem("boolean", "予約が完了したか"),
        PcaItem("number", "人数"),
        PcaItem("string", "折り返し希望日時"),
    ),
    "Order desk": (
        PcaItem("string", "Order ID "),
        PcaItem("string", "Note"),
        PcaItem("string", "Note"),
        PcaItem("string", "note"),
        PcaItem("number", "Total (¥)"),
        PcaItem("boolean", "Is it 'urgent'?"),
        PcaItem("string", 'Said "thank you"; or not'),
    ),
    "Quality audit": _many_items(),
}
