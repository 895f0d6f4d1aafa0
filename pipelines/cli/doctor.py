"""`verbex-sync doctor`."""

from datetime import UTC, datetime
from typing import Any

import click

from connector.errors import EXIT_FAILED
from pipelines.cli.common import ENV_FILE, format_option, read_settings
from pipelines.cli.output import Format, show
from pipelines.cli.words import fail
from pipelines.doctor.examine import examine
from pipelines.doctor.finding import Finding
from pipelines.warehouse.data_folder import DataFolder

_SIGNS: dict[str, Any] = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@click.command(epilog="Example: verbex-sync doctor")
@format_option
def doctor(form: Format) -> None:
    """Look for what may be wrong, and say how to fix it: settings, machine, landing, tables, Verbex's end.

    Changes nothing. It sends Verbex one request, if there is a key.
    """
    settings = read_settings()
    found = list(examine(settings, DataFolder.from_settings(settings), ENV_FILE, datetime.now(UTC)))
    shown = [each._replace(state=_SIGNS[each.state]) for each in found] if form == "table" else found
    show(Finding._fields, shown, form)
    if any(each.state == "problem" for each in found):
        fail("Fix what is a problem above.", EXIT_FAILED)
