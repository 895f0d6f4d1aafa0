"""`verbex-sync simulate`: the simulated Verbex on the command line.

Options become a simulation, and its progress a bar. What is simulated is `connector.simulator`'s.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from connector.receiver.handler import WEBHOOK_PATH
from connector.settings import Settings
from connector.simulator.run import SimulateOptions, SimulateReport, recent_start, simulate
from connector.simulator.sender import SendOptions


def send_options(settings: Settings, url: str | None, rate_per_s: float | None = None) -> SendOptions:
    """How to send to the receiver that `settings` describe, or to another `url`."""
    return SendOptions(
        url=url or f"http://{settings.host}:{settings.port}{WEBHOOK_PATH}",
        secrets=[secret.get_secret_value() for secret in settings.webhook_secrets],
        token=settings.webhook_token.get_secret_value() if settings.webhook_token else None,
        rate_per_s=rate_per_s,
    )


def run_simulator(options: SimulateOptions) -> None:
    """Send, tell what came of it, and serve the API until interrupted if it is served at all."""

    async def serve_api(report: SimulateReport) -> None:
        tell(report)
        if report.api_url is not None:
            click.echo(f"Serving the API on {report.api_url}; stop with Ctrl-C.")
            await asyncio.Event().wait()

    with progress_bar("Sending webhooks") as progress:
        try:
            asyncio.run(simulate(options, progress, and_then=serve_api))
        except KeyboardInterrupt:
            click.echo("Stopped.")


def tell(report: SimulateReport) -> None:
    """One line about what was sent."""
    sent = report.sent
    click.echo(
        f"{sent.acknowledged.total()} of {sent.deliveries} deliveries acknowledged, "
        f"{len(sent.acknowledged)} distinct events of {len(report.world.calls)} calls."
    )


def now_options(send: SendOptions, **options: object) -> SimulateOptions:
    """Simulation options whose calls lie in the last hours."""
    return SimulateOptions(send=send, start_at=recent_start(datetime.now(UTC)), **options)  # type: ignore[arg-type]


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error that is told how much is done of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
