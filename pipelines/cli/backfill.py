"""`verbex-sync backfill`."""

from datetime import datetime

import click

from connector.system.counts import counted
from pipelines.cli.days import DAY, agent_option, lately, open_sweeping_syncer, read_span


@click.command(epilog="Example: verbex-sync backfill --since 2025-11-01")
@click.option("--since", type=DAY, required=True, help="First day to read.")
@click.option("--until", type=DAY, help="Last day to read. [default: today]")
@agent_option
def backfill(*, since: datetime, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Load from Verbex's own list of calls what webhooks missed. What a webhook reported stays as it is."""
    span = read_span(since, until, agents, default=lately())
    with open_sweeping_syncer("Reading days", stopped="Run the same command again to continue.") as syncer:
        done = syncer.backfill(span)
    calls, days = counted(done.calls_listed, "call"), counted(done.days_read, "day")
    left = f" Skipped {counted(done.days_left, 'day')} that had been read before." if done.days_left else ""
    click.echo(f"Read {calls} of {days}.{left}")
    click.echo("Run `verbex-sync sync` to ask for their analyses.")
