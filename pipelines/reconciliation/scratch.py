"""A folder that a rebuild works in: it is removed at the end, or by the next rebuild if a process was killed.

Only making and removing it belongs here.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.system.lock import hold_lock, is_held

_PREFIX = "rebuild-"
_LOCK = "rebuild.lock"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent`, remove it in the end, and remove those that killed processes left there."""
    for abandoned in parent.glob(f"{_PREFIX}*"):
        # A folder without a lock is one that another process makes just now, or not ours.
        if (abandoned / _LOCK).is_file() and not is_held(abandoned / _LOCK):
            shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name:
        folder = Path(name)
        with hold_lock(folder / _LOCK):
            yield folder
