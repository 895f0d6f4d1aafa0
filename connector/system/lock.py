"""A lock file between processes: one process works on a folder, and no other process does.

Only the lock belongs here. The kernel holds it and releases it when the process ends. The process id in the
file is only for people.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connector.errors import OperatorError
from connector.system.files import file_system_of, open_ours

PATIENCE_S = 60.0
"""The time that work requested by a person waits for another process before it stops."""


class LockHeldError(OperatorError):
    """A lock that another process holds. `holder` is its process id, as text."""

    def __init__(self, path: Path, holder: str) -> None:
        self.holder = holder
        super().__init__(f"{path} is locked by process {holder}, which must end first.")


@contextmanager
def hold_lock(path: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock at `path` while the block runs. The folder of `path` must exist.

    Raises:
        LockHeldError: Another process still holds it after `wait_s` seconds.
        OSError: The file can't be opened or is a link, or its file system offers no locks.
    """
    descriptor = open_ours(path, os.O_RDWR)
    try:
        _take(descriptor, path, time.monotonic() + wait_s)
        with suppress(OSError):  # a full disk; the lock holds without the number
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock at `path` now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, path: Path, deadline_s: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise LockHeldError(path, holder or "unknown") from None
        except OSError as error:
            raise OSError(
                error.errno,
                f"{path} can't be locked ({error.strerror}): its file system ({file_system_of(path)}) offers "
                "no locks, so nothing would keep two processes from writing the same files. Nothing was "
                "changed. Put the data folder on a local disk, or on NFS with locks",
            ) from error
        time.sleep(0.05)
