"""The call details of a simulated account: the bodies of `GET /v1/calls/{id}` and of its list.

Every documented field belongs here, also the one that must never be stored (`access_token`).
"""

import random
from datetime import UTC, datetime
from typing import Any

from connector.simulator.calls import SECOND_US, Call, Course
from connector.simulator.chance import rng_for

ACCESS_TOKEN_MARK = "simulated-access-token"  # noqa: S105 - a marker for tests, gives access to nothing
"""The beginning of every simulated credential, so that a test can search for it in stored files."""

_LINES = (
    ("assistant", "Thank you for calling, how can I help you?"),
    ("user", "I'd like to book a table for four."),
    ("assistant", "かしこまりました。お日にちはいつがよろしいですか?"),
    ("user", "金曜日の19時でお願いします。"),
    ("assistant", "Done. You will get a message with the details."),
    ("user", "Great (thanks) - bye!"),
)


def call_details(call: Call, seed: int) -> dict[str, Any]:
    """Return one call as the API shows it, without fields that are not set yet."""
    rng = rng_for(seed, "details", call.call_id)
    details: dict[str, Any] = {
        "_id": call.call_id,
        "ai_agent_id": call.agent.agent_id,
        "ai_agent_name": call.agent.name,
        "override_ai_agent_id": None,
        "call_status": "ongoing" if call.ended_us is None else "ended",
        "call_type": rng.choice(("phone_call", "web_call")),
        "call_start_time": iso(call.started_us),
    }
    if details["call_type"] == "phone_call":
        details |= _numbers(call, seed)
    if call.ended_us is not None:
        details |= {
            "call_end_time": iso(call.ended_us),
            "call_duration_seconds": round((call.ended_us - call.started_us) / SECOND_US, 1),
            "call_finish_reason": _finish_reason(rng, call),
            "recorded_call_audio_url": f"https://recordings.invalid/{call.call_id}.wav",
        }
    return details | {
        "messages": _messages(rng, call),
        "metadata": {"campaign": rng.choice(("spring", "autumn", "春")), "attempt": rng.randint(1, 3)},
        "pia_llm_dynamic_data": {"customer_name": rng.choice(("Sato", "佐藤", "O'Neill"))},
        "access_token": f"{ACCESS_TOKEN_MARK}-{rng.getrandbits(64):016x}",
    }


def iso(at_us: int) -> str:
    """Return UNIX microseconds as ISO 8601 in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(at_us // SECOND_US, UTC).replace(microsecond=at_us % SECOND_US)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _numbers(call: Call, seed: int) -> dict[str, str]:
    """Return who called whom. Some callers call more than once, each agent has one number."""
    rng = rng_for(seed, "numbers", call.call_id)
    customer = f"+8190{rng.randrange(40) * 2_500_013 % 10**8:08d}"
    agent = f"+813{rng_for(seed, 'number', call.agent.agent_id).randrange(10**8):08d}"
    direction = rng.choices(("inbound", "outbound"), (3, 1))[0]
    from_number, to_number = (customer, agent) if direction == "inbound" else (agent, customer)
    return {"from_number": from_number, "to_number": to_number, "direction": direction}


def _finish_reason(rng: random.Random, call: Call) -> str:
    if call.course is Course.TRANSFERRED:
        return "transferred"
    return rng.choice(("user_ended_call", "agent_ended_call"))


def _messages(rng: random.Random, call: Call) -> list[dict[str, str]]:
    """Return a transcript. Most of its lines begin with their time span in seconds."""
    ended_us = call.ended_us or call.started_us + 20 * SECOND_US
    step_s = (ended_us - call.started_us) / SECOND_US / len(_LINES)
    messages = []
    for number, (role, text) in enumerate(_LINES):
        span = f"({number * step_s:.1f}s - {(number + 0.8) * step_s:.1f}s) "
        messages.append({"role": role, "content": (span if rng.random() < 0.8 else "") + text})
    return messages
