"""`verbex-sync backfill`."""

from datetime import datetime

import click

from pipelines.cli.days import DAY, agent_option, lately, open_sweeping_syncer, read_span


@click.command()
@click.option("--since", type=DAY, required=True, help="First UTC day to read.")
@click.option("--until", type=DAY, help="Last UTC day to read. [default: today]")
@agent_option
def backfill(*, since: datetime, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Load from Verbex's own list of calls what webhooks missed. What a webhook reported stays as it is."""
    span = read_span(since, until, agents, default=lately())
    with open_sweeping_syncer("Reading days", stopped="Run the same command again to continue.") as syncer:
        done = syncer.backfill(span)
    left = f" Skipped {done.days_left} days that were read before." if done.days_left else ""
    click.echo(f"Read {done.calls_listed} calls of {done.days_read} days.{left}")
    click.echo("Run `verbex-sync sync` to ask for their analyses.")
