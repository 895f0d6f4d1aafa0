"""Files and names that survive a loss of power: the one place that calls fsync.

A file that is synced is lost all the same if its folder forgets it. What is written, and where, is for the
callers.
"""

import fcntl
import os
import sys
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
    fsync_path(folder.parent)


def fsync_path(path: Path) -> None:
    """Make the bytes of a file last, or the names in a folder.

    Raises:
        OSError: It can't be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_data(descriptor: int) -> None:
    """Make the bytes of an open file last, at the lowest cost that the system offers.

    Raises:
        OSError: It can't be synced; it is not known what the disk holds now.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS's fsync stops at the drive's own cache
    else:
        os.fdatasync(descriptor)
