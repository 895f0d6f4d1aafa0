"""Names that survive a loss of power: a file that is synced is lost all the same if its folder forgets it.

Only folders belong here; syncing bytes is the business of whoever writes them.
"""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, as far as they are missing, so that they last.

    Raises:
        OSError: It can't be created or synced.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last.

    Raises:
        OSError: It can't be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
