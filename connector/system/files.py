"""Files and names that survive a loss of power: the only module that calls fsync.

An fsynced file is still lost if its name in the folder is not durable. The callers decide what to write.
"""

import fcntl
import os
import sys
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and make their names durable.

    Raises:
        OSError: A folder can't be created or fsynced.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_path(folder.parent)


def fsync_path(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, durable.

    Raises:
        OSError: The path can't be opened or fsynced.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_data(descriptor: int) -> None:
    """Make the bytes of an open file durable, by the fastest call that the system offers.

    Raises:
        OSError: The fsync failed. The disk may hold the bytes or not.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS's fsync stops at the drive's own cache
    else:
        os.fdatasync(descriptor)
