"""Where actions keep what belongs to this machine alone, in the data folder.

Only paths belong here.
"""

from pathlib import Path

from pipelines.warehouse.data_folder import DataFolder


def state_dir_of(folder: DataFolder) -> Path:
    """Return the folder of the steps that have not landed yet, and of how far the tables were looked at."""
    return folder.path / "actions"


def lock_of(folder: DataFolder) -> Path:
    """Return the lock of the one process that acts."""
    return folder.path / "actions.lock"
