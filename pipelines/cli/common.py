"""What the commands share: settings read, errors told, the choice of format.

No command belongs here; they are in `pipelines.cli`, `pipelines.cli.verify` and `pipelines.cli.account`.
"""

import sys
from pathlib import Path
from typing import NoReturn

import click

from connector.settings import Settings, SettingsError, load_settings

EXIT_FAILED = 1
EXIT_USAGE = 2

ENV_FILE = Path(".env")

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="A table for people, or lines for programs.",
)


def read_settings(**overrides: object) -> Settings:
    """The settings, with the options that were typed in place of them; ends the command if any is wrong."""
    try:
        return load_settings(**{name: value for name, value in overrides.items() if value is not None})
    except SettingsError as error:
        fail(str(error), EXIT_USAGE)


def fail(message: str, code: int) -> NoReturn:
    """Tell why on standard error, and end with `code`."""
    click.echo(message, err=True)
    sys.exit(code)
