"""The simulated sender: the requests that a receiver gets, and the tries until it acknowledges."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from support.command import Run

from connector.simulator.run import SimulateOptions, SimulateReport, recent_start, simulate
from connector.simulator.sender import SendOptions, send
from connector.simulator.truth import Truth
from connector.simulator.world import DEFAULT_START, World
from connector.verbex.signature import SIGNATURE_HEADER, verify

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def receiver(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_every_delivery_arrives_signed_with_each_secret() -> None:
    """During a rotation, a delivery verifies with the old secret and with the new one."""
    world, bodies = World.build(calls=20), []

    async def check(request: web.Request) -> web.Response:
        body, header = await request.read(), request.headers[SIGNATURE_HEADER]
        for secret in ("old", "new"):
            verify(body, header, [secret], now_s=1000, tolerance_s=0)
        bodies.append(body)
        return web.Response()

    async with receiver(check) as url:
        deliveries = world.deliveries()
        report = await send(deliveries, SendOptions(url, secrets=("new", "old")), clock=lambda: 1000.0)
    assert sorted(bodies) == sorted(delivery.event.body for delivery in deliveries)
    assert report.acknowledged.total() == report.attempts == len(deliveries)


async def test_a_delivery_may_carry_a_bearer_token() -> None:
    """The token is sent like a subscription's own header."""
    seen = set()

    async def look(request: web.Request) -> web.Response:
        seen.add(request.headers.get("Authorization"))
        return web.Response()

    async with receiver(look) as url:
        await send(World.build(calls=7).deliveries(), SendOptions(url, token="let-me-in"))
    assert seen == {"Bearer let-me-in"}


async def test_a_delivery_is_tried_again_until_it_is_acknowledged() -> None:
    """After a 503 or a broken connection, the same bytes are sent again."""
    tries: dict[bytes, int] = {}

    async def relent(request: web.Request) -> web.Response:
        body = await request.read()
        tries[body] = tries.get(body, 0) + 1
        if tries[body] == 1:
            return web.Response(status=503)
        if tries[body] == 2 and request.transport:
            request.transport.abort()
        return web.Response()

    async with receiver(relent) as url:
        deliveries = World.build(calls=7).deliveries(duplicates=0)
        report = await send(deliveries, SendOptions(url, backoff_s=0.001))
    assert set(tries.values()) == {3}
    assert report.acknowledged == {delivery.event.trace_id: 1 for delivery in deliveries}
    assert report.statuses == {503: len(deliveries), 0: len(deliveries), 200: len(deliveries)}


async def test_a_delivery_is_not_tried_again_after_its_last_try() -> None:
    """A receiver that always refuses gets the set number of requests, and the report shows it."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async with receiver(refuse) as url:
        deliveries = World.build(calls=7).deliveries(duplicates=0)
        report = await send(deliveries, SendOptions(url, tries=2, backoff_s=0.001))
    assert report.given_up.keys() == {delivery.event.trace_id for delivery in deliveries}
    assert report.attempts == 2 * len(deliveries)


async def test_a_rate_is_kept() -> None:
    """At 200 deliveries a second, 60 of them take at least 0.29 seconds."""

    async def accept(_: web.Request) -> web.Response:
        return web.Response()

    async with receiver(accept) as url:
        deliveries = World.build(calls=30).deliveries()[:60]
        began_s = asyncio.get_running_loop().time()
        await send(deliveries, SendOptions(url, rate_per_s=200))
        assert asyncio.get_running_loop().time() - began_s >= 0.29


async def test_simulate_sends_serves_and_writes_the_truth(tmp_path: Path) -> None:
    """The truth file holds exactly what was sent, and the API runs until the callback ends."""
    bodies = set()
    steps: list[tuple[int, int]] = []

    async def keep(request: web.Request) -> web.Response:
        bodies.add(await request.read())
        return web.Response()

    async def look(report: SimulateReport) -> None:
        async with aiohttp.ClientSession() as http, http.get(f"{report.api_url}/v1/calls/") as answer:
            assert answer.status == 401

    async with receiver(keep) as url:
        options = SimulateOptions(
            SendOptions(url), DEFAULT_START, calls=20, truth_path=tmp_path / "truth.jsonl", api_port=0
        )
        report = await simulate(options, lambda *step: steps.append(step), and_then=look)
    assert bodies == set(Truth.read(tmp_path / "truth.jsonl").bodies.values())
    assert steps[-1] == (report.sent.deliveries, report.sent.deliveries)


@pytest.mark.parametrize("minute", [0, 30, 59])
def test_a_recent_world_lies_in_the_past_and_is_stable_within_the_hour(minute: int) -> None:
    """All its events are in the past, and the same hour gives the same world."""
    now = DEFAULT_START.replace(hour=12, minute=minute)
    world = World.build(calls=300, start_at=recent_start(now), revisions=1)
    assert max(event.at_us for event in world.events()) < now.timestamp() * 1e6
    assert recent_start(now) == recent_start(DEFAULT_START.replace(hour=12))


async def test_the_command_loses_events_and_revises_analyses_by_option(run: Run, tmp_path: Path) -> None:
    """The truth still has the lost events, and both announcements of revised calls."""
    bodies = set()

    async def keep(request: web.Request) -> web.Response:
        bodies.add(await request.read())
        return web.Response()

    truth_path = str(tmp_path / "truth.jsonl")
    shares = ("--losses", "0.5", "--revisions", "1", "--calls", "20", "--truth", truth_path)
    async with receiver(keep) as url:
        done = await asyncio.to_thread(run, "simulate", "--url", url, *shares)
    assert done.returncode == 0, done.stderr
    truth = Truth.read(tmp_path / "truth.jsonl")
    assert bodies < set(truth.bodies.values())
    announced = [call for call in truth.calls.values() if call.pca_state == "ready"]
    announcements = [body for body in truth.bodies.values() if b"pcaCompleted" in body and b"success" in body]
    assert len(announcements) >= 2 * len(announced) > 0
