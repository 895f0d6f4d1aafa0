"""The stop that works at once: while a file is there, nothing goes out, whichever process would send it.

The file belongs here. The commands that make and remove it do not.
"""

import os
from datetime import datetime
from pathlib import Path

from connector.system.files import make_folder, open_ours

_NAME = "actions.paused"


def pause(data_dir: Path, at: datetime) -> None:
    """Stop all actions from now on. What is on its way already arrives.

    Raises:
        OSError: The file can't be written.
    """
    make_folder(data_dir)
    descriptor = open_ours(data_dir / _NAME, os.O_WRONLY | os.O_TRUNC)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
        file.write(f"{at.isoformat()}\n")


def resume(data_dir: Path) -> bool:
    """Let actions go out again, and return whether they were paused."""
    path = data_dir / _NAME
    was_paused = path.exists()
    path.unlink(missing_ok=True)
    return was_paused


def is_paused(data_dir: Path) -> bool:
    """Return whether actions are paused."""
    return (data_dir / _NAME).exists()
