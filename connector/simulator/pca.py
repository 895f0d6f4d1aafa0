"""The PCA answers of a simulated account: the result of each configured item, call by call.

The bodies of `GET /v2/ai-agents/{id}/postcall-analysis/results/{call_id}` belong here.
`connector.simulator.world` decides whether one is ready.
"""

import random
from typing import Any

from connector.simulator.agents import PcaItem
from connector.simulator.calls import Call
from connector.simulator.chance import rng_for

_TEXTS = (
    "The caller asked to move the booking to Friday evening.",
    "お客様は来週の予約を希望しています。",
    'Said "maybe later", then hung up.\nNo follow-up needed.',
    "",
    "Caller's ID: A-1029; café table, 4 guests 🍣",
)
# The plain forms, and some that models write in place of the requested type.
_BOOLEANS = ("true", "false", "true", "false", "True", "FALSE", "unclear")
_NUMBERS = ("0", "4", "12", "3.5", "-1", "1,200", "not stated")


def pca_items(call: Call, seed: int, revision: int = 0) -> list[dict[str, Any]]:
    """Return the items of `call`'s PCA with all fields of the API. Each `revision` has other results.

    `result` is nearly always text, for any type. A few results are the JSON value itself.
    """
    rng = rng_for(seed, "pca", call.call_id, revision)
    return [_item(rng, item) for item in call.agent.items]


def pca_answer(call: Call, seed: int, revision: int = 0) -> dict[str, Any]:
    """Return the whole answer, wrapped or bare like all answers of the agent."""
    data = {
        "call_id": call.call_id,
        "ai_agent_id": call.agent.agent_id,
        "items": pca_items(call, seed, revision),
    }
    return data if call.agent.is_bare else {"status": 200, "data": data}


def pca_not_ready(call: Call) -> dict[str, Any]:
    """Return the answer while there is no PCA."""
    data = {"available": False, "message": "Post-call analysis is not available for this call"}
    return data if call.agent.is_bare else {"status": 200, "data": data}


def _item(rng: random.Random, item: PcaItem) -> dict[str, Any]:
    prompt_tokens, completion_tokens = rng.randint(300, 4000), rng.randint(1, 200)
    return {
        **{key: value for key, value in item.configuration().items() if key != "choices"},
        "result": _result(rng, item),
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _result(rng: random.Random, item: PcaItem) -> str | bool | int:
    is_native = rng.random() < 0.03
    match item.type:
        case "boolean":
            return rng.random() < 0.5 if is_native else rng.choice(_BOOLEANS)
        case "number":
            return rng.randint(0, 99) if is_native else rng.choice(_NUMBERS)
        case "enum":
            return rng.choice(item.choices)
        case "string":
            return rng.choice(_TEXTS)
