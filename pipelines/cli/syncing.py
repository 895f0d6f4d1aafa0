"""The syncer of a command, which is imported when the command needs it.

Only that belongs here. Dagster takes longer to import than most mistakes take to find: help, wrong words and
wrong settings are answered before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connector.settings import Settings
from pipelines.cli.common import ENV_FILE, make_data_folder

if TYPE_CHECKING:
    from pipelines.runs.syncer import Syncer


@contextmanager
def open_syncer(settings: Settings, **options: Any) -> Iterator["Syncer"]:  # noqa: ANN401
    """Make the data folder, and open a syncer: see `pipelines.runs.syncer.open_syncer` for its options.

    Raises:
        OSError: The data folder can't be made.
        DataFolderError: It can't be written.
    """
    make_data_folder(settings)
    from pipelines.runs import syncer

    with syncer.open_syncer(settings, ENV_FILE, **options) as opened:
        yield opened
