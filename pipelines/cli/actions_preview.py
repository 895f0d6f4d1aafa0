"""`verbex-sync actions preview`: what would go out for a rule now, with nothing sent.

Only its printing belongs here. What would be sent is found in `pipelines.actions.preview`.
"""

from collections.abc import Iterator, Sequence

import click

from connector.system.counts import counted
from connector.verbex.transport import utc_now
from pipelines.actions.preview import Preview, list_candidates, preview_of
from pipelines.actions.rules import rule_of
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.output import Format, brief, show
from pipelines.cli.words import printable
from pipelines.models.rule import Rule
from pipelines.warehouse.data_folder import DataFolder

_COLUMNS = (
    *("action_id", "rule", "kind", "call_id", "state", "reason", "due_at", "expires_at"),
    *("problem", "method", "address", "headers", "body"),
)


@click.command(epilog="Example: verbex-sync actions preview unhappy_callers")
@click.argument("rule")
@click.option("--limit", type=click.IntRange(1), default=5, show_default=True, help="At most so many.")
@format_option
def preview(rule: str, *, limit: int, form: Format) -> None:
    """Show the exact requests that would go out for a rule now. Nothing is sent.

    If none would, the newest rows of the rule are shown as examples.
    """
    settings = read_settings()
    folder = DataFolder.from_settings(settings)
    meant = rule_of(folder, rule)
    now = utc_now()
    candidates, count = list_candidates(folder, meant, now, limit)
    previews = [preview_of(each, meant, settings, folder, now) for each in candidates]
    if form != "table":
        show(_COLUMNS, map(_row, previews), form)
        return
    click.echo(_introduction(folder, meant, count, len(previews)))
    for number, each in enumerate(previews, 1):
        click.echo(printable("\n".join(["", *_lines(number, each)])))


def _introduction(folder: DataFolder, rule: Rule, count: int, shown: int) -> str:
    if count:
        more = f" The first {shown}:" if shown < count else ""
        return f"{counted(count, 'action')} of {rule.name} would go out.{more}"
    is_off = rule.name not in folder.rules
    why = f"The rule {rule.name} is off" if is_off else f"Nothing of {rule.name} is to go out now"
    if not shown:
        return f"{why}, and it has no rows that could be shown as examples."
    return f"{why}. These are only examples, of its newest rows: they would not be sent."


def _lines(number: int, shown: Preview) -> Iterator[str]:
    candidate = shown.candidate
    action = candidate.action
    about = f", call {action.call_id}" if action.call_id else ""
    yield f"{number}. {action.action_id}{about}: {_state(shown)}"
    if shown.problem:
        yield f"   It would not be sent now: {shown.problem}"
    yield ""
    if shown.address:
        yield f"{shown.method} {shown.address}"
    for name, value in shown.headers.items():
        yield f"{name}: {value}"
    if shown.headers or shown.address:
        yield ""
    yield shown.body.decode(errors="backslashreplace").replace("\r\n", "\n")
    if shown.text:
        yield "(The text, which is encoded above:)"
        yield shown.text


def _state(shown: Preview) -> str:
    candidate = shown.candidate
    if candidate.state == "example":
        return "an example"
    reason = f" ({candidate.reason})" if candidate.reason else ""
    expires_at = candidate.action.expires_at
    until = f", until {brief(expires_at)}" if expires_at is not None else ""
    return f"{candidate.state}{reason}, from {brief(candidate.due_at)}{until}"


def _row(shown: Preview) -> Sequence[object]:
    candidate = shown.candidate
    action = candidate.action
    return [
        *(action.action_id, action.rule, action.kind, action.call_id, candidate.state),
        *(candidate.reason or None, candidate.due_at, action.expires_at, shown.problem or None),
        *(shown.method, shown.address or None, dict(shown.headers), shown.body),
    ]
