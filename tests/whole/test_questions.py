"""Ten questions that people ask first: each is one query, and its numbers are those of the simulated account.

They are asked as an analyst does, by DuckDB on the published file, on machines in three time zones.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.data_folder import DataFolder, bodies_of, settings_for

from connector.simulator.api import ApiServer
from connector.simulator.truth import CallTruth, Truth
from connector.simulator.world import World
from pipelines.enrichment.fetch import fetch_all

ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
WORLD = World.build(calls=150, agents=3, start_at=datetime(2025, 11, 1, tzinfo=UTC), span_s=3 * 86_400)
CALLS = list(Truth.of(WORLD).calls.values())
NUMBERS = {"0": 0, "4": 4, "12": 12, "3.5": 3.5, "-1": -1, "1,200": 1200}

QUESTIONS = {
    "containment and transfer rate by agent": """
        select agent_name, 1 - sum(transferred) / sum(completed), sum(transferred) / sum(completed)
        from agent_daily group by all order by all""",
    "coverage by day": """
        select day, sum(pca_due), sum(pca_fetched), sum(pca_failed), sum(pca_unavailable), sum(pca_pending)
        from agent_daily group by day order by day""",
    "busiest hours in Tokyo": """
        select hour(started_at at time zone 'Asia/Tokyo') as hour_in_tokyo, count(*)
        from calls where started_at is not null group by all order by all""",
    "p95 duration": "select quantile_cont(duration_s, 0.95) from calls",
    "agents compared on one page": """
        select agent_name, sum(calls), sum(total_duration_s), sum(pca_fetched) / sum(pca_due)
        from agent_daily group by all order by all""",
    "an item over time across agents": """
        select day, agent_name, avg(coalesce(pca_numbers['Party Size'], pca_numbers['人数']))
        from calls_enriched where agent_name <> 'Order desk' group by all order by all""",
    "repeat callers": """
        select from_number, count(*) from calls_enriched where direction = 'inbound'
        group by from_number having count(*) > 1 order by from_number""",
    "calls stuck now": """
        select call_id from calls
        where status = 'in_progress' and started_at < now() - interval 1 day order by all""",
    "tokens by agent and model": """
        select agent_name, model, sum(total_tokens)
        from pca_items join agents using (agent_id) group by all order by all""",
    "failed analyses and why": """
        select call_id, agent_name, pca_failure_reason from calls_enriched
        where pca_status = 'failed' order by all""",
}

ASK = """
import json, sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
questions = json.load(sys.stdin)
print(json.dumps({name: connection.execute(sql).fetchall() for name, sql in questions.items()}, default=str))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Ask every question in every zone, of tables whose days are cut in that zone."""
    folders = {zone: DataFolder(tmp_path_factory.mktemp("questions"), time_zone=zone) for zone in ZONES}
    for folder in folders.values():
        asyncio.run(fill(folder))
    return {zone: ask(folder, zone) for zone, folder in folders.items()}


async def fill(folder: DataFolder) -> None:
    """Load all events, and all that the API says."""
    folder.land(bodies_of(WORLD))
    folder.sync()
    async with ApiServer(WORLD) as api:
        await asyncio.to_thread(fetch_all, settings_for(folder, api), folder)
    folder.sync()


def ask(folder: DataFolder, zone: str) -> dict[str, Any]:
    """Run the questions in a process of a machine in `zone`."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder.warehouse.published)],
        input=json.dumps(QUESTIONS),
        env=os.environ | {"TZ": zone},
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_with_the_truth(
    answers: dict[str, dict[str, Any]], question: str, zone: str
) -> None:
    """Shares and sums are equal to twelve digits."""
    expected = EXPECTED[question](zone) if question in BY_ZONE else EXPECTED[question]()
    assert answers[zone][question] == [pytest.approx(list(row), rel=1e-12) for row in expected]


def name_of(call: CallTruth) -> str:
    return WORLD.agent_by_id[call.agent_id].name


def day_of(call: CallTruth, zone: str) -> str:
    began_us = call.started_us if call.started_us is not None else call.first_event_us
    return str(datetime.fromtimestamp(began_us / 1e6, ZoneInfo(zone)).date())


def completed(calls: Iterable[CallTruth]) -> list[CallTruth]:
    return [call for call in calls if call.status == "completed"]


def by_agent() -> dict[str, list[CallTruth]]:
    grouped = defaultdict(list)
    for call in CALLS:
        grouped[name_of(call)].append(call)
    return dict(sorted(grouped.items()))


def pca_outcome(call: CallTruth) -> str:
    if call.pca_items:
        return "fetched"
    return "failed" if call.course == "pca_failed" else "unavailable"


def transfer_rates() -> list[tuple[Any, ...]]:
    shares = {name: share(calls, "transferred") for name, calls in by_agent().items()}
    return [(name, 1 - rate, rate) for name, rate in shares.items()]


def share(calls: Iterable[CallTruth], course: str) -> float:
    ended = completed(calls)
    return sum(call.course == course for call in ended) / len(ended)


def coverage(zone: str) -> list[tuple[Any, ...]]:
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for call in completed(CALLS):
        outcomes[day_of(call, zone)][pca_outcome(call)] += 1
    return [
        (day, seen.total(), seen["fetched"], seen["failed"], seen["unavailable"], 0)
        for day, seen in sorted(outcomes.items())
    ]


def hours_in_tokyo() -> list[tuple[Any, ...]]:
    started = [call.started_us for call in CALLS if call.started_us is not None]
    tokyo = ZoneInfo("Asia/Tokyo")
    return sorted(Counter(datetime.fromtimestamp(at_us / 1e6, tokyo).hour for at_us in started).items())


def durations(calls: Iterable[CallTruth]) -> list[float]:
    return [
        (call.ended_us - call.started_us) / 1e6
        for call in calls
        if call.ended_us is not None and call.started_us is not None
    ]


def agents_compared() -> list[tuple[Any, ...]]:
    return [
        (
            name,
            len(calls),
            sum(durations(calls)),
            sum(bool(call.pca_items) for call in calls) / len(completed(calls)),
        )
        for name, calls in by_agent().items()
    ]


def fetched_share(calls: list[CallTruth]) -> float:
    return sum(bool(call.pca_items) for call in calls) / len(completed(calls))


def party_sizes(zone: str) -> list[tuple[Any, ...]]:
    sizes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for call in CALLS:
        if name_of(call) == "Order desk":
            continue
        items = [item for item in call.pca_items if item["name"] in ("Party Size", "人数")]
        results = [str(item["result"]) for item in items]
        key = (day_of(call, zone), name_of(call))
        sizes[key] += [NUMBERS.get(text, float(text) if text.isdecimal() else None) for text in results]  # type: ignore[misc]
    known = {key: [size for size in found if size is not None] for key, found in sizes.items()}
    return [(*key, sum(found) / len(found) if found else None) for key, found in sorted(known.items())]


def repeat_callers() -> list[tuple[Any, ...]]:
    inbound = [call for call in completed(CALLS) if call.details.get("direction") == "inbound"]
    numbers = Counter(call.details["from_number"] for call in inbound)
    return [(number, count) for number, count in sorted(numbers.items()) if count > 1]


def stuck() -> list[tuple[Any, ...]]:
    return [
        (call.call_id,)
        for call in sorted(CALLS, key=lambda call: call.call_id)
        if call.status == "in_progress"
    ]


def tokens() -> list[tuple[Any, ...]]:
    used: Counter[tuple[str, str]] = Counter()
    for call in CALLS:
        for item in call.pca_items:
            used[name_of(call), item["model"]] += item["usage"]["total_tokens"]
    return [(*key, count) for key, count in sorted(used.items())]


def failed() -> list[tuple[Any, ...]]:
    calls = sorted((call for call in CALLS if call.course == "pca_failed"), key=lambda call: call.call_id)
    return [(call.call_id, name_of(call), "analysis_timeout") for call in calls]


BY_ZONE = {"coverage by day", "an item over time across agents"}
EXPECTED: dict[str, Any] = {
    "containment and transfer rate by agent": transfer_rates,
    "coverage by day": coverage,
    "busiest hours in Tokyo": hours_in_tokyo,
    "p95 duration": lambda: [(quantiles(durations(CALLS), n=100, method="inclusive")[94],)],
    "agents compared on one page": agents_compared,
    "an item over time across agents": party_sizes,
    "repeat callers": repeat_callers,
    "calls stuck now": stuck,
    "tokens by agent and model": tokens,
    "failed analyses and why": failed,
}
