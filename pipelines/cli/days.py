"""What the commands about days of calls share: their options, and a syncer that shows how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE
from pipelines.cli.common import ENV_FILE, fail, read_settings
from pipelines.cli.output import progress_bar
from pipelines.enrichment.span import Span
from pipelines.runs.syncer import Syncer, open_syncer

DAY = click.DateTime(["%Y-%m-%d"])

agent_option = click.option("--agent", "agents", multiple=True, help="Calls of this agent only; repeatable.")


def lately() -> Span:
    """Yesterday and today, UTC, of all agents."""
    today = datetime.now(UTC).date()
    return Span(today - timedelta(days=1), today)


def read_span(
    since: datetime | None, until: datetime | None, agents: tuple[str, ...], *, default: Span
) -> Span:
    """The span that was typed, with the days of `default` where none were; it ends the command if empty."""
    first = since.date() if since else default.since
    last = until.date() if until else default.until
    if last < first:
        fail(f"There is no day from {first} to {last}; --since comes first.", EXIT_USAGE)
    return Span(first, last, agents)


@contextmanager
def open_sweeping_syncer(text: str, *, stopped: str = "") -> Iterator[Syncer]:
    """A syncer whose sweep shows a bar; Ctrl-C ends the command, which then says `stopped`."""
    with (
        explained_stop(stopped),
        progress_bar(text) as progress,
        open_syncer(read_settings(), ENV_FILE, progress=progress) as syncer,
    ):
        yield syncer


@contextmanager
def explained_stop(stopped: str) -> Iterator[None]:
    """End the command in words on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"Stopped. {stopped}".strip(), EXIT_FAILED)
