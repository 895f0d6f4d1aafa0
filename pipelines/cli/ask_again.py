"""`verbex-sync ask-again`."""

from datetime import datetime

import click

from pipelines.cli.common import ENV_FILE, make_data_folder, read_settings
from pipelines.cli.days import DAY, agent_option, explained_stop, read_span
from pipelines.enrichment.span import Span
from pipelines.runs.syncer import open_syncer


@click.command("ask-again", epilog="Example: verbex-sync ask-again --since 2025-11-01 --agent AGENT_ID")
@click.option("--since", type=DAY, help="First day of the calls. [default: all days]")
@click.option("--until", type=DAY, help="Last day of the calls. [default: all days]")
@agent_option
def ask_again(*, since: datetime | None, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Ask Verbex once more for the analyses and call details that are unavailable."""
    span = read_span(since, until, agents, default=Span())
    stopped = "What was answered is kept and is not asked for again."
    settings = read_settings()
    make_data_folder(settings)
    with explained_stop(stopped), open_syncer(settings, ENV_FILE) as syncer:
        syncer.ask_again(span, click.echo)
