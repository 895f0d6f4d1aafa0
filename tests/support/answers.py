"""The answers to the questions in `sql/questions/`, computed in plain Python from a simulated account.

They are written from the definitions in the headers and not from the SQL, so that the two can disagree.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connector.simulator.truth import CallTruth, Truth
from connector.simulator.world import World
from support.data_folder import NOON, NOON_US
from support.oracle import ENDED, from_us

Rows = list[tuple[Any, ...]]

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000

# Tables are published at noon of November 9. Calls in progress began around a day before that, so some are
# stuck; in New York the clocks are set back on November 2. With this seed every question has rows to show,
# and those about some calls have others to leave out.
WORLD = World.build(
    seed=85, calls=120, agents=3, start_at=NOON - timedelta(days=8, seconds=-150), span_s=7 * 86_400
)
CALLS = sorted(Truth.of(WORLD).calls.values(), key=lambda call: call.call_id)
IN_TROUBLE = {call.call_id for call in CALLS[::5]}
NUMBERS = {"0": 0, "4": 4, "12": 12, "3.5": 3.5, "-1": -1, "1,200": 1200}


class Delivery(NamedTuple):
    """One delivery: when it was received, what happened when, and the body."""

    received_us: int
    trace_id: str
    name: str
    at_us: int
    body: bytes


def deliveries() -> Iterator[Delivery]:
    """Yield what Verbex sends; the ends of some calls report trouble, which no simulated call has."""
    for sent in WORLD.deliveries():
        event = sent.event
        is_trouble = event.name == ENDED and event.call_id in IN_TROUBLE
        body = event.body.replace(b'"status":"success"', b'"status":"error"') if is_trouble else event.body
        received_us = WORLD.start_us + int(sent.offset_s * 1e6)
        yield Delivery(received_us, event.trace_id, event.name, event.at_us, body)


DELIVERIES = list(deliveries())


def agent_of(call: CallTruth) -> str:
    return WORLD.agent_by_id[call.agent_id].name


def began_at(call: CallTruth, zone: str) -> datetime:
    began_us = call.started_us if call.started_us is not None else call.first_event_us
    return datetime.fromtimestamp(began_us / 1e6, ZoneInfo(zone))


def day_of(call: CallTruth, zone: str) -> str:
    return str(began_at(call, zone).date())


def grouped(
    key: Callable[[CallTruth], Any], calls: Iterable[CallTruth] = CALLS
) -> dict[Any, list[CallTruth]]:
    """Return the calls of each key, in the order of the keys."""
    groups = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    return dict(sorted(groups.items()))


def completed(calls: Iterable[CallTruth]) -> list[CallTruth]:
    return [call for call in calls if call.status == "completed"]


def transferred(calls: Iterable[CallTruth]) -> list[CallTruth]:
    return [call for call in calls if call.transferred_us is not None]


def inbound() -> list[CallTruth]:
    return [call for call in completed(CALLS) if call.details.get("direction") == "inbound"]


def duration_of(call: CallTruth) -> float | None:
    if call.ended_us is None or call.started_us is None:
        return None
    return (call.ended_us - call.started_us) / 1e6


def durations(calls: Iterable[CallTruth]) -> list[float]:
    return [seconds for call in calls if (seconds := duration_of(call)) is not None]


def pca_outcome(call: CallTruth) -> str:
    if call.pca_items:
        return "fetched"
    return "failed" if call.course == "pca_failed" else "unavailable"


def percent(part: float, whole: float) -> float:
    return 100 * part / whole


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value at this share of the way through the sorted values, between two in proportion."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
    return low + (high - low) * (place - int(place))


def containment(_: str) -> Rows:
    rows = []
    for agent, calls in grouped(agent_of, completed(CALLS)).items():
        gone = len(transferred(calls))
        kept = len(calls) - gone
        rows.append((agent, len(calls), gone, percent(kept, len(calls)), percent(gone, len(calls))))
    return rows


def pca_coverage(zone: str) -> Rows:
    rows = []
    for day, calls in grouped(lambda call: day_of(call, zone), completed(CALLS)).items():
        seen = Counter(map(pca_outcome, calls))
        outcomes = (seen["fetched"], seen["failed"], seen["unavailable"], 0)
        rows.append((day, len(calls), *outcomes, percent(seen["fetched"], len(calls))))
    return rows


def pca_delay(_: str) -> Rows:
    rows = []
    for agent, calls in grouped(agent_of).items():
        delays = [
            (call.pca_completed_us - call.ended_us) / 1e6
            for call in calls
            if call.pca_completed_us is not None and call.ended_us is not None and call.course != "pca_failed"
        ]
        rows.append((agent, len(delays), quantile(delays, 0.5), quantile(delays, 0.95)))
    return rows


def call_duration(_: str) -> Rows:
    known = {agent: durations(calls) for agent, calls in grouped(agent_of).items()}
    return [
        (agent, len(found), mean(found), quantile(found, 0.5), quantile(found, 0.95))
        for agent, found in known.items()
    ]


def busiest_hours(zone: str) -> Rows:
    counts = Counter(began_at(call, zone).hour for call in CALLS)
    by_count = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [(hour, count, percent(count, len(CALLS))) for hour, count in by_count]


def agents_compared(_: str) -> Rows:
    rows = []
    for agent, calls in grouped(agent_of).items():
        ended, known = completed(calls), durations(calls)
        rows.append(
            (
                *(agent, len(calls), len(ended), percent(len(transferred(ended)), len(ended))),
                *(sum(known), mean(known), quantile(known, 0.95)),
                percent(sum(pca_outcome(call) == "fetched" for call in ended), len(ended)),
                sum(item["usage"]["total_tokens"] for call in calls for item in call.pca_items),
            )
        )
    return rows


def repeat_callers(_: str) -> Rows:
    rows = []
    for number, calls in grouped(lambda call: call.details["from_number"], inbound()).items():
        starts = [from_us(call.started_us) for call in calls if call.started_us is not None]
        if len(calls) > 1:
            rows.append((number, len(calls), min(starts), max(starts)))
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def calls_stuck(_: str) -> Rows:
    quiet = [
        (
            call.call_id,
            agent_of(call),
            from_us(call.first_event_us),
            from_us(call.last_event_us),
            age_us / 1e6,
        )
        for call in CALLS
        if call.status == "in_progress" and (age_us := NOON_US - call.last_event_us) > DAY_US
    ]
    return sorted(quiet, key=lambda row: -row[4])


def pca_tokens(_: str) -> Rows:
    used: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    analyses: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in CALLS:
        for item in call.pca_items:
            key = agent_of(call), item["model"]
            used[key].update(item["usage"])
            analyses[key].add(call.call_id)
    kinds = ("prompt_tokens", "completion_tokens", "total_tokens")
    return [(*key, len(analyses[key]), *(used[key][kind] for kind in kinds)) for key in sorted(used)]


def pca_items_over_time(zone: str) -> Rows:
    answers: dict[tuple[str, str, str, str], list[Any]] = defaultdict(list)
    for call in CALLS:
        for item in call.pca_items:
            if item["type"] != "string":
                key = (item["name"], agent_of(call), day_of(call, zone), item["type"])
                answers[key].append(item["result"])
    rows: Rows = []
    for key, results in sorted(answers.items()):
        if key[3] == "number":
            numbers = [NUMBERS.get(result) if isinstance(result, str) else result for result in results]
            rows.append((*key, None, len(results), 100, mean([each for each in numbers if each is not None])))
        else:
            texts = [str(each).lower() if key[3] == "boolean" else each for each in results]
            counts = sorted(Counter(texts).items())
            rows += [(*key, text, count, percent(count, len(results)), None) for text, count in counts]
    return rows


def pca_failures(zone: str) -> Rows:
    reasons = {
        "failed": "analysis_timeout",
        "unavailable": "Post-call analysis is not available for this call",
    }
    return [
        (call.call_id, agent_of(call), day_of(call, zone), outcome, reasons[outcome])
        for call in sorted(completed(CALLS), key=lambda call: began_at(call, zone), reverse=True)
        if (outcome := pca_outcome(call)) in reasons
    ]


def calls_by_day(zone: str) -> Rows:
    return [
        (
            *(day, len(calls), len(completed(calls)), len(calls) - len(completed(calls))),
            *(len(transferred(calls)), sum(durations(calls)) or None),
        )
        for day, calls in grouped(lambda call: day_of(call, zone)).items()
    ]


def calls_by_weekday(zone: str) -> Rows:
    totals = Counter(map(agent_of, CALLS))
    days = grouped(lambda call: (agent_of(call), began_at(call, zone).isoweekday()))
    return [
        (agent, number, f"{began_at(calls[0], zone):%A}", len(calls), percent(len(calls), totals[agent]))
        for (agent, number), calls in days.items()
    ]


def short_calls(_: str) -> Rows:
    rows = []
    for agent, calls in grouped(agent_of).items():
        known = durations(calls)
        short = sum(seconds < 10 for seconds in known)
        rows.append((agent, len(known), short, percent(short, len(known))))
    return rows


def longest_calls(_: str) -> Rows:
    rows = [
        (call.call_id, agent_of(call), from_us(call.started_us), seconds, call.details["call_finish_reason"])
        for call in CALLS
        if call.started_us is not None and (seconds := duration_of(call)) is not None
    ]
    return sorted(rows, key=lambda row: -row[3])[:20]


def transfers(_: str) -> Rows:
    rows = []
    for destination, calls in grouped(lambda call: call.transfer_to, transferred(CALLS)).items():
        moments = [(call.started_us, call.transferred_us or 0) for call in calls]
        waits = [(gone_us - started_us) / 1e6 for started_us, gone_us in moments if started_us is not None]
        rows.append((destination, len(calls), mean(waits), from_us(max(gone_us for _, gone_us in moments))))
    return sorted(rows, key=lambda row: -row[1])


def call_directions(_: str) -> Rows:
    def kind(call: CallTruth) -> tuple[str, str]:
        known = call.details if call.status == "completed" else {}  # only then are details asked for
        return known.get("direction", "(unknown)"), known.get("call_type", "(unknown)")

    rows = [
        (*found, len(calls), percent(len(calls), len(CALLS)), mean(durations(calls)))
        for found, calls in grouped(kind).items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def called_again(_: str) -> Rows:
    rows = []
    for call in inbound():
        is_transferred = call.transferred_us is not None
        ended_us = call.ended_us or 0
        later = [
            (each.started_us - ended_us, each.call_id)
            for each in inbound()
            if each.details["from_number"] == call.details["from_number"]
            and each.started_us is not None
            and each.started_us > ended_us
        ]
        if later and (is_transferred or call.call_id in IN_TROUBLE) and min(later)[0] <= DAY_US:
            after_us, call_id = min(later)
            end_status = "error" if call.call_id in IN_TROUBLE else "success"
            known = (call.details["from_number"], call.call_id, agent_of(call), end_status, is_transferred)
            rows.append((*known, from_us(ended_us), call_id, after_us / 1e6))
    return sorted(rows, key=lambda row: row[5])


def new_fields(_: str) -> Rows:
    seen: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for sent in DELIVERIES:
        for path, kind in fields_of(json.loads(sent.body)):
            seen[sent.name, path, kind].append(sent.received_us)
    rows: Rows = []
    for (name, path, kind), times_us in seen.items():
        of_type = seen[name, "$", "object"]
        is_late = path == "$" or min(times_us) > min(of_type) + DAY_US
        if is_late and min(times_us) > NOON_US - 7 * DAY_US:
            share = percent(len(times_us), len(of_type))
            rows.append((from_us(min(times_us)), name, path, kind, len(times_us), share))
    return sorted(sorted(rows, key=lambda row: row[1:4]), key=lambda row: row[0], reverse=True)


def fields_of(value: Any, path: str = "$") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    """Yield every path in a body with its type. A list of the simulator's has elements of several types."""
    if isinstance(value, dict):
        yield path, "object"
        for name, inner in value.items():
            yield from fields_of(inner, f"{path}.{name}")
    elif isinstance(value, list):
        yield from ((path, "list"), (f"{path}[*]", "mixed"))
    else:
        yield path, "text" if isinstance(value, str) else "number"


def delivery_delay(_: str) -> Rows:
    received: dict[str, tuple[int, int]] = {}
    for sent in DELIVERIES:
        before = received.get(sent.trace_id, (sent.received_us, 0))
        received[sent.trace_id] = min(before[0], sent.received_us), sent.at_us
    hours: dict[int, list[float]] = defaultdict(list)
    for received_us, at_us in received.values():
        hours[at_us // HOUR_US].append((received_us - at_us) / 1e6)
    return [
        (from_us(hour * HOUR_US), len(found), quantile(found, 0.5), quantile(found, 0.95), max(found))
        for hour, found in sorted(hours.items(), reverse=True)
    ]


def end_status(_: str) -> Rows:
    rows = []
    for agent, calls in grouped(agent_of, completed(CALLS)).items():
        counts = Counter("error" if call.call_id in IN_TROUBLE else "success" for call in calls)
        rows += [(agent, status, count, percent(count, len(calls))) for status, count in counts.most_common()]
    return rows


EXPECTED: dict[str, Callable[[str], Rows]] = {
    answer.__name__: answer
    for answer in (
        *(
            containment,
            pca_coverage,
            pca_delay,
            call_duration,
            busiest_hours,
            agents_compared,
            repeat_callers,
        ),
        *(calls_stuck, pca_tokens, pca_items_over_time, pca_failures, calls_by_day, calls_by_weekday),
        *(short_calls, longest_calls, transfers, call_directions, called_again, new_fields, delivery_delay),
        end_status,
    )
}
