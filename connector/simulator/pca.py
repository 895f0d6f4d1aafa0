"""The PCA answers of a simulated account: what each configured item came out as, call by call.

Belongs here: the bodies of `GET /v2/ai-agents/{id}/postcall-analysis/results/{call_id}`. Whether one is
ready yet is the API server's to say.
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
# What models write where a type asks for something else, beside the plain forms.
_BOOLEANS = ("true", "false", "true", "false", "True", "FALSE", "unclear")
_NUMBERS = ("0", "4", "12", "3.5", "-1", "1,200", "not stated")


def pca_items(call: Call, seed: int, revision: int = 0) -> list[dict[str, Any]]:
    """The items of `call`'s PCA with all the API's fields; another `revision`, other results.

    `result` is nearly always text, whatever the type says; a few come as the JSON value itself.
    """
    rng = rng_for(seed, "pca", call.call_id, revision)
    return [_item(rng, item) for item in call.agent.items]


def pca_answer(call: Call, seed: int, revision: int = 0) -> dict[str, Any]:
    """The whole answer, wrapped or bare as the agent's answers are."""
    data = {
        "call_id": call.call_id,
        "ai_agent_id": call.agent.agent_id,
        "items": pca_items(call, seed, revision),
    }
    return data if call.agent.is_bare else {"status": 200, "data": data}


def pca_not_ready(call: Call) -> dict[str, Any]:
    """The answer while there is no PCA."""
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
