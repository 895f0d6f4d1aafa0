"""`verbex-sync simulate`: the simulated Verbex on the command line.

Its options and its progress bar belong here. The simulation does not: see `connector.simulator`.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from connector.errors import EXIT_FAILED
from connector.receiver.handler import WEBHOOK_PATH
from connector.settings import Settings
from connector.simulator.run import SimulateOptions, SimulateReport, recent_start
from connector.simulator.run import simulate as play
from connector.simulator.sender import SendOptions, SendReport, explain_status
from connector.system.counts import counted
from connector.system.loop import run
from pipelines.cli.common import read_settings
from pipelines.cli.output import progress_bar
from pipelines.cli.words import fail


@click.command(epilog="Example: verbex-sync simulate --calls 100 --rate 20 --api-port 8181")
@click.option("--url", help="The receiver's URL. [default: from VERBEX_HOST and VERBEX_PORT]")
@click.option("--calls", type=click.IntRange(1), default=200, show_default=True, help="Calls to simulate.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Deliveries per second. [default: no limit]"
)
@click.option(
    "--duplicates", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share sent twice."
)
@click.option(
    "--disorder", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share sent late."
)
@click.option(
    "--losses", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share never delivered."
)
@click.option(
    "--revisions",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of analyses announced a second time, with other results.",
)
@click.option(
    "--truth", type=click.Path(path_type=Path), help="File to write what was sent to, as JSON lines."
)
@click.option(
    "--api-port", type=int, help="Serve the REST API on this port until interrupted; 0 takes a free one."
)
def simulate(
    *,
    url: str | None,
    calls: int,
    seed: int,
    rate: float | None,
    duplicates: float,
    disorder: float,
    losses: float,
    revisions: float,
    truth: Path | None,
    api_port: int | None,
) -> None:
    """Simulate Verbex: send the webhooks of simulated calls, and serve its REST API."""
    options = SimulateOptions(
        send=_send_options(read_settings(), url, rate),
        start_at=recent_start(datetime.now(UTC)),
        calls=calls,
        seed=seed,
        duplicates=duplicates,
        disorder=disorder,
        losses=losses,
        revisions=revisions,
        truth_path=truth,
        api_port=api_port,
    )
    reports: list[SimulateReport] = []

    async def finish(report: SimulateReport) -> None:
        reports.append(report)
        await _report(report, options.api_key)

    try:
        with progress_bar("Sending webhooks") as progress:
            run(play(options, progress, and_then=finish))
    except KeyboardInterrupt:
        if not reports:
            raise
        click.echo("Stopped.")
    for report in reports:
        _check_all_acknowledged(report.sent)


async def _report(report: SimulateReport, api_key: str) -> None:
    """Print what was sent. If an API was started, serve it until interrupted."""
    sent = report.sent
    click.echo(
        f"{sent.acknowledged.total():,} of {counted(sent.deliveries, 'delivery')} acknowledged: "
        f"{counted(len(sent.acknowledged), 'event')} of {counted(len(report.world.calls), 'call')}."
    )
    if report.api_url is not None:
        click.echo(f"Serving the API until Ctrl-C. For your .env:\nVERBEX_API_URL={report.api_url}")
        click.echo(f"VERBEX_API_KEY={api_key}")
        await asyncio.Event().wait()


def _check_all_acknowledged(sent: SendReport) -> None:
    if given_up := sent.given_up.total():
        refusals = [explain_status(status) for status in sent.statuses if not 200 <= status < 300]
        fail(f"{counted(given_up, 'delivery')} not acknowledged. {' '.join(refusals)}", EXIT_FAILED)


def _send_options(settings: Settings, url: str | None, rate_per_s: float | None) -> SendOptions:
    """Return how to send to the receiver that `settings` describe, or to another `url`."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls_cert else "http"
    return SendOptions(
        url=url or f"{scheme}://{host}:{settings.port}{WEBHOOK_PATH}",
        secrets=[secret.get_secret_value() for secret in settings.webhook_secrets],
        token=settings.webhook_token.get_secret_value() if settings.webhook_token else None,
        rate_per_s=rate_per_s,
    )
