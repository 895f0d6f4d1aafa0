"""A file system that can't keep what we promise is named, with what is then true."""

from pathlib import Path

import pytest

from connector.system.files import file_system_of, fsync_path


def test_a_folder_that_can_not_be_fsynced_is_named_with_its_file_system() -> None:
    """A network share refuses it in the same way as this kernel's own folder."""
    with pytest.raises(OSError, match=r"/proc/self can't be fsynced.*\(proc\).*does not count as stored"):
        fsync_path(Path("/proc/self"))


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    """Not that of the root."""
    assert file_system_of(Path("/proc/self/status")) == "proc"
    assert file_system_of(Path("/")) not in ("proc", "unknown")
