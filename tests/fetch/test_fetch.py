"""A pass over due calls: every attempt is landed, for any behaviour of the API."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from support.deadline import HANG_S

from connector.fetch import attempts as answer_log_module
from connector.fetch.calls import Due, Fetched, fetch_due
from connector.landing.files import Landing
from connector.landing.zones import AGENTS, ANSWER_SCHEMA, CALLS, PCA, Zone
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.calls import Call, Course
from connector.simulator.details import ACCESS_TOKEN_MARK
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.verbex import transport
from connector.verbex.answer import NotAuthorizedError
from connector.verbex.client import VerbexClient

NOW = datetime(2025, 11, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_BACKOFF_S", 0.001)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


def due_of(calls: Iterable[Call], *, since: datetime = NOW, attempts: int = 0) -> list[Due]:
    return [Due(call.call_id, call.agent.agent_id, since, attempts) for call in calls]


async def fetch(
    api: ApiServer, landing: Landing, due: Iterable[Due], zone: Zone = PCA, **settings: object
) -> Fetched:
    chosen: dict[str, Any] = {"api_url": api.url, "api_key": DEFAULT_API_KEY, "api_rps": 10_000, **settings}
    return await fetch_due(
        due,
        zone=zone,
        settings=Settings(_env_file=None, **chosen),
        landing=landing,
        rng=random.Random(api.request_count()),
        clock=lambda: NOW,
    )


def rows_of(landing: Landing, zone: Zone = PCA) -> list[dict[str, Any]]:
    files = landing.list_files(zone)
    return [row for file in files for row in landing.read(file, ANSWER_SCHEMA).to_pylist()]


async def test_every_due_call_gets_one_row(api: ApiServer, landing: Landing) -> None:
    """A PCA is landed as received, and a missing one as pending, with a time to retry."""
    summary = await fetch(api, landing, due_of(api.world.calls))
    rows = {row["call_id"]: row for row in rows_of(landing)}
    assert rows.keys() == api.world.call_by_id.keys()
    for call in api.world.calls:
        row = rows[call.call_id]
        assert row["agent_id"] == call.agent.agent_id
        if call.has_results:
            assert row["outcome"] == "answered"
            assert json.loads(row["body"]) == api.world.pca_answer(call)
            assert row["retry_at"] is None
        else:
            assert (row["outcome"], row["body"]) == ("pending", None)
            assert timedelta(seconds=5) <= row["retry_at"] - NOW <= timedelta(seconds=10)
    assert summary.outcomes == Counter(row["outcome"] for row in rows.values())


async def test_rows_are_numbered_without_gaps(api: ApiServer, landing: Landing) -> None:
    """`fetcher_id` and `sequence` identify each row."""
    summary = await fetch(api, landing, due_of(api.world.calls))
    assert {row["fetcher_id"] for row in rows_of(landing)} == {summary.fetcher_id}
    assert sorted(row["sequence"] for row in rows_of(landing)) == list(range(30))


async def test_call_details_land_without_credentials(
    api: ApiServer, landing: Landing, tmp_path: Path
) -> None:
    """Details are landed in their own zone, and no file contains an access token."""
    await fetch(api, landing, due_of(api.world.calls), CALLS)
    rows = rows_of(landing, CALLS)
    assert {json.loads(row["body"])["_id"] for row in rows} == api.world.call_by_id.keys()
    assert not any("access_token" in json.loads(row["body"]) for row in rows)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(ACCESS_TOKEN_MARK.encode() in content for content in files)


async def test_the_configuration_of_agents_is_landed(api: ApiServer, landing: Landing) -> None:
    """An agent is asked for without a call, and its row has an empty `call_id`."""
    agents = api.world.agents
    await fetch(api, landing, [Due("", agent.agent_id, NOW) for agent in agents], AGENTS)
    rows = rows_of(landing, AGENTS)
    assert {row["agent_id"]: json.loads(row["body"]) for row in rows} == {
        agent.agent_id: agent.configuration() for agent in agents
    }
    assert {row["call_id"] for row in rows} == {""}


async def test_an_answer_without_credentials_keeps_its_bytes(api: ApiServer, landing: Landing) -> None:
    """An answer is written again only if a credential must be removed."""
    call = next(call for call in api.world.calls if call.has_results)
    await fetch(api, landing, due_of([call]))
    async with VerbexClient(
        api.url, DEFAULT_API_KEY, rate_per_s=1000, concurrency=1, rng=random.Random(1)
    ) as client:
        answer = await client.get_pca(call.agent.agent_id, call.call_id)
    assert rows_of(landing)[0]["body"] == answer.body


async def test_lasting_faults_are_recorded_with_a_time_to_retry(api: ApiServer, landing: Landing) -> None:
    """The row says what was asked, what came back, and when to ask again. Each wait is longer."""
    api.faults = Faults(server_error=1)
    [early, late] = [
        Due(call.call_id, call.agent.agent_id, NOW, n)
        for call, n in zip(api.world.calls[:2], (0, 6), strict=True)
    ]
    await fetch(api, landing, [early, late])
    rows = {row["call_id"]: row for row in rows_of(landing)}
    for row in rows.values():
        assert (row["outcome"], row["http_status"]) == ("failed", 500)
        assert "postcall-analysis" in row["error"]
    assert rows[late.call_id]["retry_at"] - NOW >= timedelta(seconds=320)
    assert rows[early.call_id]["retry_at"] - NOW <= timedelta(seconds=10)


async def test_nothing_is_lost_among_faults(api: ApiServer, landing: Landing) -> None:
    """Repeated passes get every answer, with one request per answer and per fault."""
    api.faults = Faults.evenly(0.4, seed=5)
    api.faults = Faults(**{**vars(api.faults), "retry_after_s": 0})
    wanted = [call for call in api.world.calls if call.has_results]
    answered: set[str] = set()
    for _ in range(20):
        await fetch(api, landing, due_of(call for call in wanted if call.call_id not in answered))
        answered = {row["call_id"] for row in rows_of(landing) if row["outcome"] == "answered"}
        if len(answered) == len(wanted):
            break
    assert len(answered) == len(wanted)
    faulty = sum(request.fault is not None for request in api.requests)
    assert len(api.requests) == len(wanted) + faulty


@pytest.mark.parametrize(
    ("age_s", "attempts", "outcome"),
    [(86_399, 9, "pending"), (86_401, 0, "unavailable"), (86_401, 9, "unavailable")],
)
async def test_a_pca_that_never_comes_becomes_unavailable(
    api: ApiServer, landing: Landing, age_s: int, attempts: int, outcome: str
) -> None:
    """If it is still missing after the allowed time, there is no further try."""
    call = next(call for call in api.world.calls if call.course is Course.WITHOUT_PCA)
    await fetch(api, landing, due_of([call], since=NOW - timedelta(seconds=age_s), attempts=attempts))
    [row] = rows_of(landing)
    assert row["outcome"] == outcome
    assert (row["retry_at"] is None) == (outcome == "unavailable")


@pytest.mark.parametrize("is_down", [True, False])
@pytest.mark.parametrize("years_ahead", [1, 1000])
async def test_a_call_that_became_due_in_the_future_is_not_asked_for_ever(
    api: ApiServer, landing: Landing, years_ahead: int, is_down: bool
) -> None:
    """A receiver's wrong clock stamped it. Its attempts end once their pauses add up to the time allowed."""
    api.faults = Faults(html=float(is_down))
    call = next(call for call in api.world.calls if call.course is Course.WITHOUT_PCA)
    since, allowed, waited, attempts = NOW + timedelta(days=365 * years_ahead), 7_200, timedelta(), 0
    while True:
        due = Due(call.call_id, call.agent.agent_id, since, attempts, attempts_ever=attempts)
        await fetch(api, landing, [due], pca_give_up_s=allowed)
        row = max(rows_of(landing), key=lambda row: int(row["attempt_number"]))
        attempts += 1
        if row["outcome"] == "unavailable":
            break
        waited += row["retry_at"] - NOW
        assert waited < timedelta(days=1)
    assert waited >= timedelta(seconds=allowed)


@pytest.mark.parametrize(("attempts", "outcome"), [(0, "failed"), (3, "failed"), (4, "unavailable")])
async def test_an_api_that_is_down_makes_no_old_call_unavailable_at_once(
    api: ApiServer, landing: Landing, attempts: int, outcome: str
) -> None:
    """After a long pause every call is old, so a fault counts only after several attempts."""
    api.faults = Faults(html=1)
    due = due_of(api.world.calls[:1], since=NOW - timedelta(days=30), attempts=attempts)
    await fetch(api, landing, due)
    assert rows_of(landing)[0]["outcome"] == outcome


async def test_a_call_without_agent_is_recorded_and_not_asked(api: ApiServer, landing: Landing) -> None:
    """The PCA endpoint needs the agent, and the row says that it is missing."""
    await fetch(api, landing, [Due(api.world.calls[0].call_id, None, NOW)])
    [row] = rows_of(landing)
    assert row["outcome"] == "failed"
    assert "agent_id" in row["error"]
    assert api.request_count() == 0


async def test_one_bad_call_never_stops_the_rest(api: ApiServer, landing: Landing) -> None:
    """Invalid and unknown ids get a row each, and the good ids get their answers."""
    good = [call for call in api.world.calls if call.has_results]
    bad = [Due(call_id, "agent", NOW) for call_id in ("", "..", "x/y", "\n", "通話")]
    summary = await fetch(api, landing, [*bad, *due_of(good)])
    assert summary.outcomes["answered"] == len(good)
    assert summary.outcomes.total() == len(good) + len(bad)


async def test_a_refused_key_stops_the_pass_and_keeps_earlier_answers(
    api: ApiServer, landing: Landing
) -> None:
    """If the key becomes invalid halfway, earlier answers are landed, and no new request starts."""
    due = due_of(call for call in api.world.calls if call.has_results)

    def withdrawing() -> Iterable[Due]:
        yield from due[:10]
        api.api_key = "another"
        yield from due[10:]

    with pytest.raises(NotAuthorizedError, match="VERBEX_API_KEY"):
        await fetch(api, landing, withdrawing(), api_concurrency=2)
    rows = rows_of(landing)
    assert 8 <= len(rows) <= 10
    assert {row["outcome"] for row in rows} == {"answered"}
    assert api.request_count() <= 12


async def test_a_long_retry_after_ends_the_pass(api: ApiServer, landing: Landing) -> None:
    """The call may be asked again only after the wait. The others stay due, without a request."""
    api.faults = Faults(too_many=1, retry_after_s=7200)
    summary = await fetch(api, landing, due_of(api.world.calls), api_concurrency=1)
    [row] = rows_of(landing)
    assert row["retry_at"] - NOW >= timedelta(seconds=7200)
    assert summary.stopped_by is not None
    assert api.request_count() == 1


async def test_answers_are_landed_while_the_pass_runs(
    api: ApiServer, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill loses only the last few seconds, because earlier answers are already in a file."""
    monkeypatch.setattr(answer_log_module, "FLUSH_INTERVAL_S", 0.02)
    monkeypatch.setattr(answer_log_module, "FLUSH_ROWS", 1_000_000)  # so that time alone makes it land

    def until_some_are_landed() -> Iterable[Due]:
        for due in cycle(due_of(api.world.calls)):
            if rows_of(landing):
                return
            yield due

    api.faults = Faults(slow=1, slow_s=0.02)
    async with asyncio.timeout(HANG_S):
        await fetch(api, landing, until_some_are_landed(), api_concurrency=1)
    assert len(rows_of(landing)) == api.request_count()


async def test_a_cancelled_pass_lands_what_it_has(api: ApiServer, landing: Landing) -> None:
    """After Ctrl-C, every answer that arrived before is landed."""
    due = due_of(call for call in api.world.calls if call.has_results)
    reached = asyncio.Event()

    def then_hang() -> Iterable[Due]:
        yield from due[:8]
        api.faults = Faults(slow=1, slow_s=60)
        reached.set()
        yield due[8]

    going_on = asyncio.create_task(fetch(api, landing, then_hang(), api_concurrency=1))
    await asyncio.wait_for(reached.wait(), HANG_S)
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)
    assert [row["call_id"] for row in rows_of(landing)] == [one.call_id for one in due[:8]]


async def test_files_hold_a_bounded_number_of_rows(
    api: ApiServer, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory does not depend on the number of due calls."""
    monkeypatch.setattr(answer_log_module, "FLUSH_ROWS", 7)
    await fetch(api, landing, due_of(api.world.calls))
    sizes = [landing.read(file, ANSWER_SCHEMA).num_rows for file in landing.list_files(PCA)]
    assert sum(sizes) == 30
    assert max(sizes) <= 7 + 8


async def test_a_landing_that_fails_is_an_error(api: ApiServer, tmp_path: Path) -> None:
    """Answers that can't be stored are not counted as fetched, and the calls stay due."""
    (tmp_path / "landing").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="landing"):
        await fetch(api, Landing(str(tmp_path / "landing")), due_of(api.world.calls))


async def test_progress_counts_every_call(api: ApiServer, landing: Landing) -> None:
    """The last step shows that all calls are done."""
    steps: list[tuple[int, int]] = []
    due: Sequence[Due] = due_of(api.world.calls)
    settings = Settings(_env_file=None, api_url=api.url, api_key=DEFAULT_API_KEY, api_rps=10_000)
    await fetch_due(
        due,
        zone=PCA,
        settings=settings,
        landing=landing,
        rng=random.Random(1),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 30) for done in range(1, 31)]


async def test_two_passes_never_share_a_file(landing: Landing) -> None:
    """With another generator, a pass at the same moment has another id."""
    names = set()
    async with ApiServer(World.build(calls=7)) as api:
        settings = Settings(_env_file=None, api_url=api.url, api_key=DEFAULT_API_KEY)
        for seed in (1, 2):
            summary = await fetch_due(
                [],
                zone=PCA,
                settings=settings,
                landing=landing,
                rng=random.Random(seed),
                clock=lambda: NOW,
            )
            names.add(summary.fetcher_id)
    assert len(names) == 2
