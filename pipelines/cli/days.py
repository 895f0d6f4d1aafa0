"""What the commands about days of calls share: their options, and a syncer that shows its progress.

No command belongs here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE
from pipelines.cli.common import read_settings
from pipelines.cli.output import progress_bar
from pipelines.cli.syncing import open_syncer
from pipelines.cli.words import fail
from pipelines.enrichment.span import Span

if TYPE_CHECKING:
    from pipelines.runs.syncer import Syncer

# The bounds of a day in another time zone can be in the day before.
_EARLIEST = date(1970, 1, 1)

DAY = click.DateTime(["%Y-%m-%d"])

agent_option = click.option(
    "--agent", "agents", multiple=True, help="Only calls of this agent. Can be repeated."
)


def lately() -> Span:
    """Return yesterday and today, in `VERBEX_TIME_ZONE`, of all agents."""
    today = datetime.now(ZoneInfo(read_settings().time_zone)).date()
    return Span(today - timedelta(days=1), today)


def read_span(
    since: datetime | None, until: datetime | None, agents: tuple[str, ...], *, default: Span
) -> Span:
    """Return the span that was typed, with the days of `default` where none were. Exit if it is empty."""
    first = since.date() if since else default.since
    last = until.date() if until else default.until
    if since and first <= _EARLIEST:
        fail(f"--since must be after {_EARLIEST}: Verbex has no calls of that time.", EXIT_USAGE)
    if last < first:
        fail(f"There is no day from {first} to {last}. --since must not be after --until.", EXIT_USAGE)
    return Span(first, last, agents)


@contextmanager
def open_sweeping_syncer(text: str, *, stopped: str = "") -> Iterator["Syncer"]:
    """Open a syncer whose sweep shows a progress bar. On Ctrl-C, print `stopped` and exit."""
    settings = read_settings()
    with (
        explained_stop(stopped),
        progress_bar(text) as progress,
        open_syncer(settings, progress=progress) as syncer,
    ):
        yield syncer


@contextmanager
def explained_stop(stopped: str) -> Iterator[None]:
    """Exit with a message on Ctrl-C. It ends with `stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"Stopped. {stopped}".strip(), EXIT_FAILED)
