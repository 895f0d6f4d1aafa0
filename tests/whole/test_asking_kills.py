"""`backfill`, `sync` and `ask-again` are killed while they ask: nothing is asked for twice or missing."""

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.command import inherited
from support.data_folder import DataFolder, settings_for
from support.deadline import HANG_S

from connector.landing.zones import ANSWER_SCHEMA, CALLS, LISTED, PCA, Zone
from connector.simulator.api import ApiServer, LoggedRequest
from connector.simulator.world import World
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.span import Span
from pipelines.reconciliation.sweep import sweep_span

DAYS = 9
FIRST, LAST = date(2025, 11, 10), date(2025, 11, 18)
SPAN = ("--since", str(FIRST), "--until", str(LAST))
LONGEST_DELAY_S = 1.0
"""Past the last request too, so that the loads around the asking are hit as well."""
COMMAND = """
from connector.fetch import attempts
attempts.FLUSH_INTERVAL_S = 0.2
from pipelines.cli import main
main()
"""
"""What a user types; only that answers land after a tenth of the usual time, so that asking is as quick."""


class Asking:
    """A command as a user types it, repeatedly, against one API and in one folder."""

    def __init__(self, folder: Path, api: ApiServer, *words: str, rps: int) -> None:
        self._folder = folder
        self._api = api
        self._command = [sys.executable, "-c", COMMAND, *words]
        given = {"API_URL": api.url, "API_KEY": api.api_key, "API_RPS": str(rps)}
        self._environment = inherited() | {f"VERBEX_{name}": value for name, value in given.items()}

    async def run(self, *, kill_at_request: int | None = None, delay_s: float = 0) -> list[LoggedRequest]:
        """Run the command to its end, or kill it `delay_s` after a request. Return the requests it sent."""
        first, reached = len(self._api.requests), asyncio.Event()

        def note() -> None:
            if len(self._api.requests) - first == kill_at_request:
                reached.set()

        self._api.on_request = note
        process = await asyncio.create_subprocess_exec(
            *self._command, cwd=self._folder, env=self._environment, stdout=asyncio.subprocess.DEVNULL
        )
        ended = asyncio.create_task(process.wait())
        if kill_at_request is not None:
            reaching = asyncio.create_task(reached.wait())
            await asyncio.wait((ended, reaching), return_when=asyncio.FIRST_COMPLETED, timeout=HANG_S)
            reaching.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), delay_s)
            with suppress(ProcessLookupError):
                process.kill()
        code = await asyncio.wait_for(ended, HANG_S)
        assert code == 0 or kill_at_request is not None
        return self._api.requests[first:]

    async def interrupt(self, *, at_request: int) -> tuple[int, str]:
        """Send Ctrl-C after a number of requests. Return the exit code and the text on standard error."""
        reached = asyncio.Event()
        self._api.on_request = lambda: reached.set() if len(self._api.requests) == at_request else None
        process = await asyncio.create_subprocess_exec(
            *self._command, cwd=self._folder, env=self._environment, stderr=asyncio.subprocess.PIPE
        )
        await asyncio.wait_for(reached.wait(), HANG_S)
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), HANG_S)
        return process.returncode or 0, said.decode()


def landed(folder: DataFolder, zone: Zone, outcome: str) -> list[dict[str, Any]]:
    """Return the landed rows of a zone with that outcome."""
    tables = [folder.landing.read(file, ANSWER_SCHEMA) for file in folder.landing.list_files(zone)]
    return [row for table in tables for row in table.to_pylist() if row["outcome"] == outcome]


async def run_killed(
    asking: Asking,
    stored: Callable[[], Counter[Any]],
    asked: Callable[[list[LoggedRequest]], set[Any]],
    *,
    kills: int,
    most_requests: int,
    rng: random.Random,
) -> None:
    """Kill it at random moments, then let it end. No run may ask for what was stored before it started."""
    for kill in range(kills + 1):
        before = stored()
        moment = {
            "kill_at_request": rng.randint(1, most_requests),
            "delay_s": rng.uniform(0, LONGEST_DELAY_S),
        }
        requests = await asking.run(**moment if kill < kills else {})  # type: ignore[arg-type]
        assert not asked(requests) & before.keys()
    assert set(stored().values()) == {1}


def days_read(folder: DataFolder) -> Counter[date]:
    """Return the days that are recorded as completely read."""
    windows = (json.loads(row["body"]) for row in landed(folder, LISTED, "swept"))
    return Counter(datetime.fromisoformat(window["since"]).date() for window in windows)


def days_asked(requests: list[LoggedRequest]) -> set[date]:
    """Return the days that were asked for. A request begins a second before its day."""
    asked = [request.query["start_time_after"] for request in requests if request.path == "/v1/calls/"]
    return {(datetime.fromisoformat(text).astimezone(UTC) + timedelta(seconds=1)).date() for text in asked}


def facts(folder: DataFolder) -> list[list[tuple[Any, ...]]]:
    """Return the rows that a backfill gives, without the times at which it ran."""
    return [
        folder.rows(f"select * exclude ({when}) from {table} order by all")  # noqa: S608
        for table, when in {
            "calls": "updated_at",
            "call_details": "fetched_at",
            "completeness_daily": "compared_at",
            "call_drift": "compared_at",
        }.items()
    ] + [folder.rows("from call_messages order by all")]


async def backfill_killed(tmp_path: Path, *, kills: int, seed: int) -> None:
    """Kill backfills, let one end, and compare with a backfill that was never killed."""
    world = World.build(calls=60, span_s=DAYS * 86_400)
    bodies = [delivery.event.body for delivery in world.deliveries(losses=0.5)]
    folder, undisturbed = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "undisturbed")
    for one in (folder, undisturbed):
        one.land(bodies)
    async with ApiServer(world) as api:
        await run_killed(
            Asking(tmp_path, api, "backfill", *SPAN, rps=10),
            lambda: days_read(folder),
            days_asked,
            kills=kills,
            most_requests=DAYS,
            rng=random.Random(seed),
        )
        settings = settings_for(undisturbed, api)
        await asyncio.to_thread(sweep_span, settings, undisturbed, Span(FIRST, LAST), is_backfill=True)
    undisturbed.sync()
    assert days_read(folder).keys() == days_read(undisturbed).keys()
    assert facts(folder) == facts(undisturbed)


async def sync_killed(tmp_path: Path, *, kills: int, seed: int) -> None:
    """Kill syncs and let one end: everything that Verbex has is stored, each answer once."""
    world, folder = World.build(calls=40), DataFolder(tmp_path / "data")
    folder.land([delivery.event.body for delivery in world.deliveries()])
    async with ApiServer(world) as api:
        await ask_killed(folder, Asking(tmp_path, api, "sync", rps=60), world, kills=kills, seed=seed)


async def ask_again_killed(tmp_path: Path, *, kills: int, seed: int) -> None:
    """Do the same with `ask-again`, after everything was unavailable."""
    world, folder = World.build(calls=40), DataFolder(tmp_path / "data")
    folder.land([delivery.event.body for delivery in world.deliveries()])
    folder.sync()
    async with ApiServer(world, now_us=lambda: 0) as api:
        settings = settings_for(folder, api)
        await asyncio.to_thread(fetch_all, settings, folder)
        assert not answered(folder)
        api.now_us = None
        await ask_killed(folder, Asking(tmp_path, api, "ask-again", rps=60), world, kills=kills, seed=seed)


async def ask_killed(folder: DataFolder, asking: Asking, world: World, *, kills: int, seed: int) -> None:
    """Kill a command that asks, let it end, and check the stored answers."""
    await run_killed(
        asking,
        lambda: answered(folder),
        answers_asked,
        kills=kills,
        most_requests=60,
        rng=random.Random(seed),
    )
    ended = [call for call in world.calls if call.ended_us is not None]
    assert {call_id for is_pca, call_id in answered(folder) if not is_pca} == {call.call_id for call in ended}
    assert {call_id for is_pca, call_id in answered(folder) if is_pca} == {
        call.call_id for call in ended if call.has_results
    }
    assert folder.rows("select count(*) from pca") == [(sum(call.has_results for call in ended),)]


def answered(folder: DataFolder) -> Counter[tuple[bool, str]]:
    """Return the landed answers: whether each is an analysis, and its call."""
    zones = {PCA: True, CALLS: False}
    return Counter(
        (is_pca, row["call_id"]) for zone, is_pca in zones.items() for row in landed(folder, zone, "answered")
    )


def answers_asked(requests: list[LoggedRequest]) -> set[tuple[bool, str]]:
    """Return what was asked for, in the form of `answered`."""
    return {
        ("/results/" in request.path, request.path.rpartition("/")[2])
        for request in requests
        if "/results/" in request.path or request.path.startswith("/v1/calls/")
    }


@pytest.mark.slow
async def test_a_backfill_that_is_killed_ends_like_one_that_is_not(tmp_path: Path) -> None:
    """After SIGKILLs at random moments, no finished day is read again, and the tables are the same."""
    await backfill_killed(tmp_path, kills=1, seed=1)


async def test_a_backfill_that_is_interrupted_says_how_to_continue(tmp_path: Path) -> None:
    """After Ctrl-C: exit code 1 and a line without a stack trace. Days that were read before are landed."""
    async with ApiServer(World.build(calls=60, span_s=DAYS * 86_400)) as api:
        asking = Asking(tmp_path, api, "backfill", *SPAN, rps=10)
        code, text = await asking.interrupt(at_request=DAYS - 1)
    assert code == 1
    assert text.splitlines()[-1] == "Stopped. Run the same command again to continue."
    assert "Stack Trace" not in text
    assert days_read(DataFolder(tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 8))
async def test_many_kills_change_no_backfill(tmp_path: Path, seed: int) -> None:
    """The same with forty kills in total."""
    await backfill_killed(tmp_path, kills=8, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 13))
async def test_many_kills_of_a_sync_ask_nothing_twice(tmp_path: Path, seed: int) -> None:
    """The same with forty kills in total."""
    await sync_killed(tmp_path, kills=8, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(14, 17))
async def test_many_kills_of_asking_again_ask_nothing_twice(tmp_path: Path, seed: int) -> None:
    """The same with twenty-four kills in total."""
    await ask_again_killed(tmp_path, kills=8, seed=seed)
