"""What all commands share: settings read, errors printed, the choice of format.

No command belongs here, and nothing that imports Dagster or DuckDB.
"""

import sys
from pathlib import Path
from typing import NoReturn

import click

from connector.settings import Settings, load_settings

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
    """The settings, with the options that were typed in place of them.

    Raises:
        SettingsError: Any of them is wrong.
    """
    return load_settings(**{name: value for name, value in overrides.items() if value is not None})


def fail(message: str, code: int) -> NoReturn:
    """Print why on standard error, and end with `code`."""
    click.echo(message, err=True)
    sys.exit(code)
