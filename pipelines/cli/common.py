"""What commands share: reading settings, and the choice of format.

No command belongs here, and nothing that imports Dagster or DuckDB.
"""

import os
from pathlib import Path

import click

from connector.errors import OperatorError
from connector.setting_names import find_unknown_settings
from connector.settings import Settings, load_settings
from connector.system.files import make_folder
from pipelines.cli.words import warn

ENV_FILE = Path(".env")

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="A table for people, or lines for programs.",
)


class DataFolderError(OperatorError):
    """A data folder that can't be written."""


def read_settings(**overrides: object) -> Settings:
    """Read the settings, and warn of variables that are none. An option that was typed replaces its setting.

    Raises:
        SettingsError: A setting is wrong, or `.env` can't be read.
    """
    settings = load_settings(**{name: value for name, value in overrides.items() if value is not None})
    unknown = find_unknown_settings(os.environ, settings.actions)
    for name, nearest in unknown.items():
        warn(f"{name} is no setting and has no effect." + (f" Do you mean {nearest}?" if nearest else ""))
    return settings


def make_data_folder(settings: Settings) -> None:
    """Make the data folder if it does not exist, for a command that writes there.

    Raises:
        OSError: It can't be made.
        DataFolderError: It can't be written.
    """
    make_folder(settings.data_dir)
    if not os.access(settings.data_dir, os.W_OK | os.X_OK):
        raise DataFolderError(
            f"{settings.data_dir} can't be written. Start this as a user who may write there, or set "
            "VERBEX_DATA_DIR to another folder."
        )
