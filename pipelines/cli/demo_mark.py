"""The mark in a data folder that was made by a demo, so that real and simulated events are kept apart.

It imports nothing heavy, because the receiver looks for the mark, too.
"""

from pathlib import Path

_NAME = "demo"


def is_demo(data_dir: Path) -> bool:
    """Return whether a demo made this data folder."""
    return (data_dir / _NAME).is_file()


def mark_as_demo(data_dir: Path) -> None:
    """Mark a data folder as a demo's.

    Raises:
        OSError: The folder can't be written.
    """
    (data_dir / _NAME).touch()
