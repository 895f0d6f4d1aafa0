"""`verbex-sync actions`: all rules and what became of what they wanted, and the stop of all of them.

The group belongs here, with its table. Its other commands do not: see `pipelines.cli.actions_preview`,
`pipelines.cli.actions_log` and `pipelines.cli.actions_changes`.
"""

from collections.abc import Sequence

import click

from connector.errors import OperatorError
from connector.system.counts import counted
from connector.system.lock import is_held
from connector.verbex.transport import utc_now
from pipelines.actions import pause as stop
from pipelines.actions.overview import STATES, RuleStanding, count_waiting, list_standings
from pipelines.actions.paths import lock_of
from pipelines.cli.actions_changes import cancel, fire, retry, settle
from pipelines.cli.actions_log import log
from pipelines.cli.actions_preview import preview
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.output import Format, brief, show
from pipelines.cli.words import warn
from pipelines.warehouse.data_folder import DataFolder

_NO_SENDER = (
    "No process acts for this data folder now. `verbex-sync sync --follow` sends within seconds, "
    "`verbex-sync sync` once, and so does Dagster's sensor."
)


@click.group(invoke_without_command=True, epilog="Example: verbex-sync actions")
@format_option
@click.pass_context
def actions(context: click.Context, form: Format) -> None:
    """Show what rules set off: requests, e-mails and calls. Or look closer, and decide about them."""
    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    folder = DataFolder.from_settings(settings)
    standings = list_standings(folder, settings)
    columns = ["rule", "kind", "acts", *STATES, "newest_sent_at", "median_delay_s"]
    rows = [[brief(value) if form == "table" else value for value in _row(each)] for each in standings]
    if form != "table":
        problems = [each.problem or None for each in standings]
        show([*columns, "problem"], [[*row, why] for row, why in zip(rows, problems, strict=True)], form)
        return
    show(columns, rows, form)
    for each in standings:
        if each.problem and (each.is_named or each.begins_at):
            warn(f"{each.name}: {each.problem}")
    _say_who_acts(folder)


@actions.command(epilog="Example: verbex-sync actions pause")
def pause() -> None:
    """Stop all actions at once, in every process. What is on its way already arrives."""
    folder = DataFolder.from_settings(read_settings())
    stop.pause(folder.path, utc_now())
    click.echo(
        f"Actions are paused.{_say_waiting(folder)} `verbex-sync actions resume` lets them go out again."
    )


@actions.command(epilog="Example: verbex-sync actions resume")
def resume() -> None:
    """Let actions go out again."""
    folder = DataFolder.from_settings(read_settings())
    if not stop.resume(folder.path):
        click.echo("Actions were not paused.")
        return
    click.echo(f"Actions go out again.{_say_waiting(folder)}")
    _say_who_acts(folder)


def _row(standing: RuleStanding) -> Sequence[object]:
    acts: object = standing.begins_at
    if acts is None:
        acts = "not yet" if standing.is_named else "off"
    counts = [standing.counts[state] for state in STATES]
    return [standing.name, standing.kind, acts, *counts, standing.newest_sent_at, standing.median_delay_s]


def _say_who_acts(folder: DataFolder) -> None:
    if stop.is_paused(folder.path):
        warn("Actions are paused: nothing goes out until `verbex-sync actions resume`.")
    elif folder.rules and not is_held(lock_of(folder)):
        warn(_NO_SENDER)


def _say_waiting(folder: DataFolder) -> str:
    try:
        waiting = count_waiting(folder)
    except OperatorError:  # stopping must not depend on tables
        return ""
    return f" {counted(waiting, 'action')} {'waits' if waiting == 1 else 'wait'}."


for command in (preview, log, retry, cancel, settle, fire):
    actions.add_command(command)
