"""Small file systems for tests that fill them or take away the right to write. They need root on Linux."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory on a new folder. Skip the test where that is not allowed."""
    folder.mkdir()
    try:
        mount(folder, options)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system needs root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


def mount(folder: Path, options: str) -> None:
    """Mount a file system in memory on a folder, or mount it again with other options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
