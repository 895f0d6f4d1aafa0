"""The work of `verbex-sync simulate`: build a world, send its webhooks, serve its API.

The combination of the simulator's parts for a command belongs here. The command line does not.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.calls import SECOND_US, Call
from connector.simulator.deliveries import Dispatch
from connector.simulator.events import events_of
from connector.simulator.sender import SendOptions, SendReport, send, send_first, send_when_due
from connector.simulator.truth import Truth
from connector.simulator.world import World
from connector.system.progress import Progress, no_progress


@dataclass(frozen=True)
class SimulateOptions:
    """The options of a simulation.

    Attributes:
        send: The receiver of the webhooks, and how to send them.
        start_at: The earliest start of a call; see `recent_start`.
        calls: The number of calls.
        seed: The seed. The same seed and start give the same world.
        duplicates: The share of events that are delivered twice.
        disorder: The share of deliveries that others overtake.
        losses: The share of events that are never delivered.
        revisions: The share of PCAs that are announced a second time, with other results.
        truth_path: The file to write the truth to, as JSON lines; None for no file.
        api_port: The port of the API, which is already served while sending; 0 for any free port, None for no
            API.
        api_key: The key that the API requires.
    """

    send: SendOptions
    start_at: datetime
    calls: int = 200
    seed: int = 1
    duplicates: float = 0.05
    disorder: float = 0.1
    losses: float = 0.0
    revisions: float = 0.0
    truth_path: Path | None = None
    api_port: int | None = None
    api_key: str = DEFAULT_API_KEY


@dataclass(frozen=True)
class SimulateReport:
    """The result of a simulation: the world, the report of the sender, and the API's URL (None: no API)."""

    world: World
    sent: SendReport
    api_url: str | None


async def simulate(
    options: SimulateOptions,
    progress: Progress = no_progress,
    *,
    and_then: Callable[[SimulateReport], Awaitable[None]] | None = None,
) -> SimulateReport:
    """Send a world's webhooks, and serve its API during that time and until `and_then` returns.

    A call that is dialled there sends its webhooks too, as long as the API is served.

    Raises:
        NotAcceptedError: The receiver is not there, or refuses everything.
        OSError: The port is in use, or the truth can't be written.
    """
    world = World.build(
        seed=options.seed, calls=options.calls, start_at=options.start_at, revisions=options.revisions
    )
    if options.truth_path is not None:
        Truth.of(world).write(options.truth_path)
    async with AsyncExitStack() as stack:
        api_url = None
        if options.api_port is not None:
            api_url = await stack.enter_async_context(_serving(world, options, options.api_port))
        deliveries = world.deliveries(
            duplicates=options.duplicates, disorder=options.disorder, losses=options.losses
        )
        sent = await send_first(deliveries[0], options.send) if deliveries else SendReport()
        if sent.given_up:  # the receiver is in trouble, and may be well again at the next try
            sent = SendReport()
        sent = await send(deliveries, options.send, progress, after=sent)
        report = SimulateReport(world, sent, api_url)
        if and_then is not None:
            await and_then(report)
    return report


@asynccontextmanager
async def _serving(world: World, options: SimulateOptions, port: int) -> AsyncIterator[str]:
    """Serve the API, and send the webhooks of the calls that are dialled there, at their times."""
    tasks: list[asyncio.Task[SendReport]] = []

    def send_events_of(call: Call) -> None:
        planned = [
            Dispatch((event.at_us - call.started_us) / SECOND_US, event)
            for event in events_of(call, world.seed)
        ]
        sending = send_when_due(planned, options.send, call.started_us / SECOND_US)
        tasks.append(asyncio.create_task(sending))

    async with ApiServer(world, port=port, api_key=options.api_key) as server:
        server.dials.on_dial = send_events_of
        try:
            yield server.url
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def recent_start(now: datetime) -> datetime:
    """Return a start, less than eight hours before `now`, so that the whole world is in the past.

    It changes by whole hours, so that the same command, run twice within an hour, sends the same events.
    """
    # Calls start within six hours. The last call, its PCA and a revision fit into the seventh hour.
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=7)
