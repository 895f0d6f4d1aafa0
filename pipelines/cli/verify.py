"""The commands about what our tables are worth: proven, and repaired.

As in `pipelines.cli`, what is typed becomes one call and what comes back becomes text; imports wait until a
command needs them.
"""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from pipelines.cli.common import ENV_FILE, EXIT_FAILED, EXIT_USAGE, fail, format_option, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.cli.output import Format
    from pipelines.enrichment.span import Span
    from pipelines.runs.syncer import Syncer

_DAY = click.DateTime(["%Y-%m-%d"])
_agent_option = click.option("--agent", "agents", multiple=True, help="Calls of this agent only; repeatable.")


@click.command()
@click.option("--rebuild", is_flag=True, help="Compare with all tables built anew from landing instead.")
@click.option("--since", type=_DAY, help="First UTC day to compare. [default: yesterday]")
@click.option("--until", type=_DAY, help="Last UTC day to compare. [default: today]")
@_agent_option
@format_option
def verify(
    *,
    rebuild: bool,
    since: datetime | None,
    until: datetime | None,
    agents: tuple[str, ...],
    form: "Format",
) -> None:
    """Prove that the tables agree with Verbex's own list of calls; exit code 1 if they don't."""
    if not rebuild:
        _verify_with_verbex(_span(since, until, agents, default=_lately()), form)
    elif since or until or agents:
        fail("--rebuild compares everything: leave --since, --until and --agent out.", EXIT_USAGE)
    else:
        _verify_with_rebuild(form)


@click.command()
@click.option("--since", type=_DAY, required=True, help="First UTC day to read.")
@click.option("--until", type=_DAY, help="Last UTC day to read. [default: today]")
@_agent_option
def backfill(*, since: datetime, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Take calls in from Verbex's own list where webhooks are missing; webhooks win where both tell."""
    from pipelines.runs import proving

    span = _span(since, until, agents, default=_lately())
    with _asking("Reading days", stopped="The same command goes on where it was.") as syncer:
        done = proving.backfill(syncer, span)
    left = f" {done.days_left} days were read before." if done.days_left else ""
    click.echo(f"Read {done.calls_listed} calls of {done.days_read} days.{left}")
    click.echo("`verbex-sync sync` asks for their analyses.")


@click.command("ask-again")
@click.option("--since", type=_DAY, help="First UTC day of the calls. [default: all days]")
@click.option("--until", type=_DAY, help="Last UTC day of the calls. [default: all days]")
@_agent_option
def ask_again(*, since: datetime | None, until: datetime | None, agents: tuple[str, ...]) -> None:
    """Ask Verbex once more for what was given up as unavailable: analyses and call details."""
    from pipelines.enrichment.span import Span
    from pipelines.runs.syncer import open_syncer

    span = _span(since, until, agents, default=Span())
    stopped = "What was answered is kept, and not asked for again."
    with _told(stopped), open_syncer(read_settings(), ENV_FILE) as syncer:
        syncer.ask_again(span, click.echo)


def _verify_with_verbex(span: "Span", form: "Format") -> None:
    from pipelines.cli.output import show
    from pipelines.runs import proving

    with _asking("Listing days") as syncer:
        found = proving.verify(syncer, span)
    show(found.drift.columns, found.drift.rows, form, title="Calls that differ")
    if form == "table":
        show(found.completeness.columns, found.completeness.rows, form, title="Completeness by day")
    if found.settled.rows:
        mend = f"`verbex-sync backfill --since {span.since} --until {span.until}` repairs what can be."
        fail(f"{len(found.settled.rows)} calls differ from what Verbex lists. {mend}", EXIT_FAILED)


def _verify_with_rebuild(form: "Format") -> None:
    from connector.landing.files import Landing
    from pipelines.cli.output import show
    from pipelines.models.model import sql_folder
    from pipelines.reconciliation.rebuild import compare_with_rebuild
    from pipelines.warehouse.files import NothingPublishedError, Warehouse

    settings = read_settings()
    try:
        found = list(
            compare_with_rebuild(Warehouse(settings.data_dir), Landing(settings.landing), sql_folder())
        )
    except NothingPublishedError as error:
        fail(str(error), EXIT_FAILED)
    columns = ["table", "rows", "published_only", "rebuilt_only", "differing_keys"]
    rows = [(d.table, d.row_count, d.published_only, d.rebuilt_only, list(d.keys)) for d in found]
    show(columns, rows, form)
    if not all(difference.is_equal for difference in found):
        mend = "`verbex-sync sync --full-refresh` mends them."
        fail(f"The published tables are not what landing says. {mend}", EXIT_FAILED)


@contextmanager
def _asking(text: str, *, stopped: str = "") -> "Iterator[Syncer]":
    """A syncer whose sweep shows a bar; what goes wrong meanwhile is told."""
    from pipelines.cli.simulate import progress_bar
    from pipelines.runs.syncer import open_syncer

    with (
        _told(stopped),
        progress_bar(text) as progress,
        open_syncer(read_settings(), ENV_FILE, progress=progress) as syncer,
    ):
        yield syncer


@contextmanager
def _told(stopped: str) -> "Iterator[None]":
    """What goes wrong in the block, or Ctrl-C, ends the command in words."""
    from connector.verbex.answer import VerbexError
    from pipelines.runs.execute import RunFailedError

    try:
        yield
    except (VerbexError, RunFailedError) as error:
        fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        fail(f"Stopped. {stopped}".strip(), EXIT_FAILED)


def _lately() -> "Span":
    from pipelines.enrichment.span import Span

    today = datetime.now(UTC).date()
    return Span(today - timedelta(days=1), today)


def _span(
    since: datetime | None, until: datetime | None, agents: tuple[str, ...], *, default: "Span"
) -> "Span":
    from pipelines.enrichment.span import Span

    first = since.date() if since else default.since
    last = until.date() if until else default.until
    if last < first:
        fail(f"There is no day from {first} to {last}; --since comes first.", EXIT_USAGE)
    return Span(first, last, agents)


COMMANDS = (verify, backfill, ask_again)
