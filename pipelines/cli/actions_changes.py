"""`verbex-sync actions retry`, `cancel`, `settle` and `fire`: what people decide about actions.

The questions before it is done, and what is said afterwards, belong here. Which actions it is done with does
not: see `pipelines.actions.persons`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE
from connector.system.counts import counted
from connector.verbex.transport import utc_now
from pipelines.actions.persons import (
    find_for_cancel,
    find_for_firing,
    find_for_retry,
    find_for_settling,
    land_cancels,
    land_fired,
    land_retries,
    land_settled,
)
from pipelines.actions.published import Row
from pipelines.cli.common import read_settings
from pipelines.cli.days import DAY
from pipelines.cli.words import fail, printable
from pipelines.warehouse.data_folder import DataFolder

_COUNTS_WITH = (
    "It counts with the next load: at once while `verbex-sync sync --follow` runs, else with "
    "`verbex-sync sync`."
)

yes_option = click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")


@click.command(epilog="Example: verbex-sync actions retry unhappy_callers")
@click.argument("what", metavar="[RULE|ID]...", nargs=-1)
@click.option("--all-failed", is_flag=True, help="What failed of all rules that are on.")
@yes_option
def retry(what: Sequence[str], *, all_failed: bool, is_sure: bool) -> None:
    """Try again what failed of a rule, or by its id what failed, is too late or was cancelled."""
    if bool(what) == all_failed:
        fail("Name rules or ids of actions, or type --all-failed.", EXIT_USAGE)
    folder = DataFolder.from_settings(read_settings())
    rows, too_late = find_for_retry(folder, what or folder.rules, utc_now())
    left_out = (
        f"{counted(too_late, 'action')} too late by `not after:` left out; an id names one in any case."
    )
    if too_late:
        click.echo(left_out)
    if not rows:
        click.echo("There is nothing to try again: no action of these failed.")
        return
    _ask(f"Try {_described(rows)} again?", is_sure=is_sure)
    land_retries(folder, rows, utc_now())
    click.echo(f"{counted(len(rows), 'action')} to be tried again. {_COUNTS_WITH}")


@click.command(epilog="Example: verbex-sync actions cancel callbacks")
@click.argument("what", metavar="RULE|ID...", nargs=-1, required=True)
@yes_option
def cancel(what: Sequence[str], *, is_sure: bool) -> None:
    """Cancel what is due or held, of a rule or by ids. It is not sent."""
    folder = DataFolder.from_settings(read_settings())
    rows = find_for_cancel(folder, what)
    if not rows:
        click.echo("There is nothing to cancel: no action of these is due or held.")
        return
    _ask(f"Cancel {_described(rows)}?", is_sure=is_sure)
    land_cancels(folder, rows, utc_now())
    click.echo(f"{counted(len(rows), 'action')} cancelled. {_COUNTS_WITH}")


@click.command(epilog="Example: verbex-sync actions settle ACTION_ID --as sent")
@click.argument("action_id")
@click.option(
    "--as", "outcome", type=click.Choice(["sent", "failed"]), required=True, help="What became of it."
)
def settle(action_id: str, *, outcome: Literal["sent", "failed"]) -> None:
    """Say what became of an action whose outcome is unknown, such as a call that may have been made."""
    folder = DataFolder.from_settings(read_settings())
    row = find_for_settling(folder, action_id)
    land_settled(folder, row, outcome, utc_now())
    click.echo(f"{action_id} is settled as {outcome}. {_COUNTS_WITH}")


@click.command(epilog="Example: verbex-sync actions fire call_summaries --since 2025-11-01")
@click.argument("rule")
@click.option("--since", type=DAY, required=True, help="First day of what happened.")
@click.option("--until", type=DAY, help="Last day. [default: today]")
@yes_option
def fire(rule: str, *, since: datetime, until: datetime | None, is_sure: bool) -> None:
    """Act on what happened on days that are over, on purpose: what no action is about yet becomes one."""
    settings = read_settings()
    folder = DataFolder.from_settings(settings)
    zone = ZoneInfo(settings.time_zone)
    last = (until or datetime.now(zone)).date()
    if last < since.date():
        fail(f"There is no day from {since.date()} to {last}. --since must not be after --until.", EXIT_USAGE)
    begins_at, ends_at = (
        datetime.combine(day, time.min, zone).astimezone(UTC)
        for day in (since.date(), last + timedelta(days=1))
    )
    found = find_for_firing(folder, rule, begins_at, ends_at, utc_now())
    days = f"from {since.date()} to {last} ({settings.time_zone})"
    if found.too_late:
        click.echo(f"{counted(found.too_late, 'row')} too late by `not after:` left out.")
    if not found.wanted:
        click.echo(f"There is nothing to fire: {rule} wants nothing {days} that no action is about yet.")
        return
    _ask(f"Send {counted(len(found.wanted), 'action')} of {rule}, for what happened {days}?", is_sure=is_sure)
    land_fired(folder, found, utc_now())
    click.echo(f"{counted(len(found.wanted), 'action')} of {rule} to be sent. {_COUNTS_WITH}")


def _described(rows: Iterable[Row]) -> str:
    """Return rows in words, such as `3 failed of a, 1 expired of b`."""
    counts = Counter((row.state, row.waiting.action.rule) for row in rows)
    return ", ".join(f"{count:,} {state} of {rule}" for (state, rule), count in counts.items())


def _ask(question: str, *, is_sure: bool) -> None:
    if not is_sure and not click.confirm(printable(question)):
        fail("Nothing was changed.", EXIT_FAILED)
