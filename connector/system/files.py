"""Files and names that survive a loss of power: the only module that calls fsync.

An fsynced file is still lost if its name in the folder is not durable. The callers decide what to write.
"""

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and make their names durable. Only their owner may enter them.

    A folder with the setgid bit is shared with its group on purpose, so what is created in it is shared too.
    Folders that exist keep their mode.

    Raises:
        OSError: A folder can't be created or fsynced.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    if is_shared(folder.parent):
        folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
    fsync_path(folder.parent)


def make_file(path: Path) -> None:
    """Create an empty file that only its owner may read, or also its group if its folder is shared with it.

    Raises:
        OSError: The file can't be created, or exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if is_shared(path.parent):
            os.fchmod(descriptor, 0o660)
    finally:
        os.close(descriptor)


def open_ours(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open or create a file of a name that only we give, and return its descriptor. Never through a link.

    Whoever else may write in a shared folder could let a link of that name lead to any file of our user.

    Args:
        path: The file.
        flags: As for `os.open`.
        mode: The permissions of a file that is created.

    Raises:
        OSError: The file can't be opened, or the path is a link. The message says so.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, mode)
    except OSError as error:
        if not path.is_symlink():
            raise
        raise OSError(
            error.errno,
            f"{path} is a link, and writing there could change any other file. Nothing was written. Find out "
            "who made the link, and remove it",
        ) from None


def is_shared(folder: Path) -> bool:
    """Return whether a folder is shared with its group on purpose: it has the setgid bit."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IRGRP)


def move_without_replacing(source: Path, target: Path) -> None:
    """Rename a file, unless the new name is taken. Another process can't take the name in between.

    Where files can't have two names, as on FAT, another process can.

    Raises:
        FileExistsError: The name is taken. The file keeps its old name.
        OSError: The file can't be renamed.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken", str(target)) from None
        source.rename(target)
    else:
        source.unlink()


def fsync_path(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, durable.

    Raises:
        OSError: The path can't be opened or fsynced. The message names it, and its file system if that is
            what can't do it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
        raise OSError(
            error.errno,
            f"{path} can't be fsynced, because its file system ({file_system_of(path)}) does not offer that. "
            "What was written there may be lost with the power, so it does not count as stored. Use a local "
            "disk, or for landing also NFS or a bucket",
        ) from error
    finally:
        os.close(descriptor)


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds `path`, such as `ext4` or `cifs`, if it can be known."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    mounts = {Path(line.split()[1].replace("\\040", " ")): line.split()[2] for line in lines}
    resolved = path.resolve()
    return next((mounts[each] for each in (resolved, *resolved.parents) if each in mounts), "unknown")


def fsync_data(descriptor: int) -> None:
    """Make the bytes of an open file durable, by the fastest call that the system offers.

    Raises:
        OSError: The fsync failed. The disk may hold the bytes or not.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS's fsync stops at the drive's own cache
    else:
        os.fdatasync(descriptor)
