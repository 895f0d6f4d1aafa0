"""All looks in their order, those at this machine first.

Each look is in the module that knows its subject. One that fails is a finding, and stops no other.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from connector.errors import OperatorError
from connector.settings import Settings
from pipelines.doctor.certificate import look_at_certificate
from pipelines.doctor.finding import Finding
from pipelines.doctor.machine import look_at_disk, look_at_folder, look_at_open_files
from pipelines.doctor.settings import look_at_settings
from pipelines.doctor.tables import look_at_journal, look_at_landing, look_at_tables
from pipelines.doctor.verbex import look_at_verbex
from pipelines.warehouse.data_folder import DataFolder

Look = Callable[[], Iterator[Finding]]


def examine(settings: Settings, folder: DataFolder, env_file: Path, now: datetime) -> Iterator[Finding]:
    """Yield what every look found, as it is found."""
    looks: dict[str, Look] = {
        "settings": lambda: look_at_settings(settings, env_file),
        "data folder": lambda: look_at_folder(settings),
        "disk": lambda: look_at_disk(folder),
        "open files": look_at_open_files,
        "certificate": lambda: look_at_certificate(settings, now),
        "journal": lambda: look_at_journal(folder),
        "landing": lambda: look_at_landing(folder),
        "tables": lambda: look_at_tables(folder, now),
        "Verbex": lambda: look_at_verbex(settings, now),
    }
    for what, look in looks.items():
        try:
            yield from look()
        except (OperatorError, OSError) as error:
            yield Finding("problem", what, str(error))
