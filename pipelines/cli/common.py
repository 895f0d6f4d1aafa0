"""What all commands share: reading settings, printing errors, and the choice of format.

No command belongs here, and nothing that imports Dagster or DuckDB.
"""

import sys
from pathlib import Path
from typing import NoReturn
from unicodedata import category

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
    """Read the settings. An option that was typed replaces its setting.

    Raises:
        SettingsError: A setting is wrong.
    """
    return load_settings(**{name: value for name, value in overrides.items() if value is not None})


def fail(message: str, code: int) -> NoReturn:
    """Print the reason on standard error, and exit with `code`."""
    click.echo(printable(message), err=True)
    sys.exit(code)


def printable(text: str) -> str:
    """Return `text` with its control characters escaped, so that data can't control a terminal."""
    return "".join(f"\\x{ord(char):02x}" if is_control(char) else char for char in text)


def is_control(char: str) -> bool:
    """Return whether a terminal obeys a character instead of showing it. Line ends and tabs are safe."""
    return category(char) == "Cc" and char not in "\n\t"
