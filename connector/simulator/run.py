"""`verbex-sync simulate`: build a world, send its webhooks, serve its API.

Belongs here: putting the parts of the simulator together for a command. The command line itself does not.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.sender import SendOptions, SendReport, send
from connector.simulator.truth import Truth
from connector.simulator.world import World
from connector.system.progress import Progress, no_progress


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate.

    Attributes:
        send: Where the webhooks go.
        start_at: When the first call can start; see `recent_start`.
        calls: How many calls.
        seed: One seed and one start give one world.
        duplicates: The share of events delivered twice.
        disorder: The share of deliveries that others overtake.
        losses: The share of events that are never delivered.
        revisions: The share of PCAs announced a second time, with other results.
        truth_path: Where to write the truth as JSON lines; None for nowhere.
        api_port: Where to serve the API, already while sending; 0 for any port, None for not at all.
        api_key: The key that the API asks for.
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
    """What was simulated: the world, what came of sending it, and where its API is (None: not served)."""

    world: World
    sent: SendReport
    api_url: str | None


async def simulate(
    options: SimulateOptions,
    progress: Progress = no_progress,
    *,
    and_then: Callable[[SimulateReport], Awaitable[None]] | None = None,
) -> SimulateReport:
    """Send a world's webhooks, serving its API meanwhile, and for as long as `and_then` takes.

    Raises:
        OSError: The port is taken, or the truth can't be written.
    """
    world = World.build(
        seed=options.seed, calls=options.calls, start_at=options.start_at, revisions=options.revisions
    )
    if options.truth_path is not None:
        Truth.of(world).write(options.truth_path)
    async with AsyncExitStack() as stack:
        api_url = None
        if options.api_port is not None:
            server = ApiServer(world, port=options.api_port, api_key=options.api_key)
            api_url = (await stack.enter_async_context(server)).url
        deliveries = world.deliveries(
            duplicates=options.duplicates, disorder=options.disorder, losses=options.losses
        )
        report = SimulateReport(world, await send(deliveries, options.send, progress), api_url)
        if and_then is not None:
            await and_then(report)
    return report


def recent_start(now: datetime) -> datetime:
    """A start for a world that lies wholly in the past of `now`, by less than eight hours.

    It moves on by whole hours, so that the same command typed twice within one sends the same events.
    """
    # Calls start within six hours; the last one, its PCA and a revision fit into the seventh.
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=7)
