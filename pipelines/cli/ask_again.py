"""`verbex-sync ask-again`."""

from datetime import datetime

import click

from pipelines.cli.common import read_settings
from pipelines.cli.days import DAY, agent_option, explained_stop, read_span
from pipelines.cli.syncing import open_syncer
from pipelines.enrichment.span import Span


@click.command("ask-again", epilog="Example: verbex-sync ask-again --since 2025-11-01 --agent AGENT_ID")
@click.option("--since", type=DAY, help="First day of the calls. [default: all days]")
@click.option("--until", type=DAY, help="Last day of the calls. [default: all days]")
@agent_option
def ask_again(*, since: datetime | None, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Ask Verbex once more for the analyses and call details that are unavailable."""
    span = read_span(since, until, agents, default=Span())
    stopped = "What was answered is kept and is not asked for again."
    with explained_stop(stopped), open_syncer(read_settings()) as syncer:
        syncer.ask_again(span, click.echo)
