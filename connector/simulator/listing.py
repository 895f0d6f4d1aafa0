"""`GET /v1/calls/` of a simulated account: filters, order and pages.

The choice of calls for a query belongs here. See `connector.simulator.details` for the shape of a call.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from multidict import MultiMapping

from connector.simulator.calls import Call

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100


def list_calls(calls: Iterable[Call], query: MultiMapping[str]) -> tuple[list[Call], dict[str, Any]]:
    """Return one page of the calls that `query` asks for, and the other fields of the answer.

    Raises:
        ValueError: A parameter can't be read. The message names it.
    """
    is_ascending = _one_of(query, "sort_direction", ("desc", "asc")) == "asc"
    found = [call for call in calls if _is_asked_for(call, query)]
    found.sort(key=lambda call: (call.started_us, call.call_id), reverse=not is_ascending)
    size = _number(query, "page_size", DEFAULT_PAGE_SIZE, 1, MAX_PAGE_SIZE)
    offset = _number(query, "page_token", 0, 0, len(found))
    more = {"total_count": len(found)}
    if offset + size < len(found):
        # The token is our offset. Clients must not interpret it, and it is the same in every run.
        more["next_page_token"] = str(offset + size)  # type: ignore[assignment]
    return found[offset : offset + size], more


def _is_asked_for(call: Call, query: MultiMapping[str]) -> bool:
    agent_ids = query.getall("ai_agent_ids", [])
    if agent_ids and call.agent.agent_id not in agent_ids:
        return False
    return (
        "batch_call_id" not in query
        and _is_between(call.started_us, query, "start_time")
        and _is_between(call.ended_us, query, "end_time")
    )


def _is_between(at_us: int | None, query: MultiMapping[str], name: str) -> bool:
    after_us, before_us = _time_us(query, f"{name}_after"), _time_us(query, f"{name}_before")
    if after_us is None and before_us is None:
        return True
    return (
        at_us is not None
        and (after_us is None or at_us >= after_us)
        and (before_us is None or at_us < before_us)
    )


def _time_us(query: MultiMapping[str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be ISO 8601") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} must have a time zone")
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _number(query: MultiMapping[str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= max(most, least):
        raise ValueError(f"{name} must be from {least} to {most}")
    return int(text)


def _one_of(query: MultiMapping[str], name: str, allowed: tuple[str, ...]) -> str:
    value = query.get(name, allowed[0])
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}")
    return value
