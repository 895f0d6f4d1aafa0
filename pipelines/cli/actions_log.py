"""`verbex-sync actions log`: the newest actions, or one with all of its steps.

Only its printing belongs here. The rows come from `pipelines.actions.overview`.
"""

import click

from connector.errors import EXIT_USAGE
from pipelines.actions.overview import STATES, read_action, read_log
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.output import Format, brief, show
from pipelines.cli.words import fail
from pipelines.warehouse.data_folder import DataFolder, Rows

_LONGEST_TEXT = 60
_LONG = ("answer", "body")


@click.command(epilog="Example: verbex-sync actions log unhappy_callers --state failed")
@click.argument("rule", required=False)
@click.option("--state", type=click.Choice(STATES), help="Only actions in this state.")
@click.option("--call", "call_id", metavar="ID", help="Only actions about this call.")
@click.option("--id", "action_id", metavar="ACT", help="One action, with all of its steps.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@format_option
def log(
    rule: str | None,
    *,
    state: str | None,
    call_id: str | None,
    action_id: str | None,
    limit: int,
    form: Format,
) -> None:
    """Show the newest actions: their state, why they wait or failed, and what was answered."""
    folder = DataFolder.from_settings(read_settings())
    if action_id is None:
        _show(read_log(folder, limit, rule=rule, state=state, call_id=call_id), form)
        return
    if rule or state or call_id:
        fail("--id shows one action. Leave out the rule, --state and --call.", EXIT_USAGE)
    action, steps = read_action(folder, action_id)
    if form == "table":
        facts = [(name, brief(value)) for name, value in action.items() if value is not None]
        show(["fact", "value"], facts, form, title=action_id)
    _show(steps, form, title="Its steps")


def _show(rows: Rows, form: Format, *, title: str = "") -> None:
    if form != "table":
        show(rows.columns, rows.rows, form, title=title)
        return
    texts = [
        [
            _shortened(value) if name in _LONG else brief(value)
            for name, value in zip(rows.columns, row, strict=True)
        ]
        for row in rows.rows
    ]
    show(rows.columns, texts, form, title=title)


def _shortened(value: object) -> object:
    if not isinstance(value, str) or len(value) <= _LONGEST_TEXT:
        return value
    return f"{value[:_LONGEST_TEXT]}..."
