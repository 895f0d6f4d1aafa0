"""The main page as data: what happens now, the day so far, and what needs somebody.

Each part is a dictionary for the template of the same name, with the names of the queries that made it.
HTML does not belong here: see `pipelines.live.pages`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.live.charts import draw
from pipelines.live.health import Health
from pipelines.live.published import Reader, Row
from pipelines.live.view import HOUR_S, MINUTE_S, Period, View, periods_of
from pipelines.live.words import Words

_CALLS_SHOWN = 25
_AGENTS_SHOWN = 30
_EVENTS_SHOWN = 20
_NEEDY_SHOWN = 10

Part = dict[str, Any]


def build_board(reader: Reader, view: View, health: Health, now: datetime, words: Words) -> dict[str, Part]:
    """Ask the published tables for every part of the main page, in the reader's thread.

    Raises:
        UnreadableError: The tables can't be read.
    """
    periods = periods_of(view, now, words.zone)
    asked: dict[str, object] = {
        "agent_id": view.agent_id,
        "now": now,
        "longest_call_s": reader.folder.longest_call_s,
    }
    today = periods.compared[0]
    agents = reader.ask("live_agents", **_span(today), row_limit=_AGENTS_SHOWN)
    return {
        "now": _now(reader, asked),
        "period": {
            "periods": periods.compared,
            "rows": [reader.ask("live_period", **asked, **_span(each))[0] for each in periods.compared],
        },
        "minutes": _over_time(reader, asked, periods.minutes, MINUTE_S, words),
        "hours": _over_time(reader, asked, periods.hours, HOUR_S, words),
        "agents": {"rows": agents, "period": today, "view": view, "total": _total(agents, "agents")},
        "events": {
            "rows": reader.ask("live_events", **asked, **_newest(health, now), row_limit=_EVENTS_SHOWN)
        },
        "attention": _attention(reader, asked),
        "actions": _actions(reader),
    }


def _now(reader: Reader, asked: Mapping[str, object]) -> Part:
    rows = reader.ask("live_now", **asked, row_limit=_CALLS_SHOWN, long_limit=_NEEDY_SHOWN)
    return {
        "rows": rows,
        "newest": _CALLS_SHOWN,
        "calls": _total(rows, "calls"),
        "long_calls": _total(rows, "long_calls"),
    }


def _over_time(
    reader: Reader, asked: Mapping[str, object], period: Period, step_s: int, words: Words
) -> Part:
    rows = reader.ask("live_calls_over_time", **asked, **_span(period), step_s=step_s)
    return {"rows": rows, "chart": draw(rows, words.minute), "calls": sum(row["calls"] for row in rows)}


def _attention(reader: Reader, asked: Mapping[str, object]) -> Part:
    stuck = reader.ask("live_calls_stuck", **asked, row_limit=_NEEDY_SHOWN)
    unanalysed = reader.ask("live_calls_unanalysed", **asked, row_limit=_NEEDY_SHOWN)
    quarantine = reader.ask("live_quarantine", **asked, row_limit=_NEEDY_SHOWN)
    by_status: dict[str, list[Row]] = {}
    for row in unanalysed:
        by_status.setdefault(row["pca_status"], []).append(row)
    return {
        "stuck": stuck,
        "stuck_calls": _total(stuck, "calls"),
        "unanalysed": by_status,
        "quarantine": quarantine,
        "bodies": _total(quarantine, "all_bodies"),
        "reasons": _total(quarantine, "reasons"),
    }


def _actions(reader: Reader) -> Part:
    waiting = reader.ask("live_actions_waiting", row_limit=_NEEDY_SHOWN)
    return {
        "rows": reader.ask("live_actions", rules=list(reader.folder.rules)),
        "waiting": waiting,
        "total": _total(waiting, "actions"),
    }


def _span(period: Period) -> dict[str, object]:
    return {"since": period.since, "until": period.until}


def _newest(health: Health, now: datetime) -> dict[str, object]:
    """Return a short period that ends with the newest delivery, so that no history is read."""
    received_at = health.status.get("last_received_at")
    newest = received_at if isinstance(received_at, datetime) else now
    return {"since": newest - timedelta(days=1), "until": newest + timedelta(microseconds=1)}


def _total(rows: list[Row], column: str) -> int:
    return int(rows[0][column]) if rows else 0
