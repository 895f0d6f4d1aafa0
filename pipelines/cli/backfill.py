"""`verbex-sync backfill`."""

from datetime import datetime

import click

from pipelines.cli.days import DAY, agent_option, lately, open_sweeping_syncer, read_span


@click.command()
@click.option("--since", type=DAY, required=True, help="First UTC day to read.")
@click.option("--until", type=DAY, help="Last UTC day to read. [default: today]")
@agent_option
def backfill(*, since: datetime, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Take calls in from Verbex's own list where webhooks are missing; webhooks win where both report."""
    span = read_span(since, until, agents, default=lately())
    with open_sweeping_syncer("Reading days", stopped="The same command goes on where it was.") as syncer:
        done = syncer.backfill(span)
    left = f" {done.days_left} days were read before." if done.days_left else ""
    click.echo(f"Read {done.calls_listed} calls of {done.days_read} days.{left}")
    click.echo("`verbex-sync sync` asks for their analyses.")
