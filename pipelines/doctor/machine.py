"""This machine: the data folder, its disk, and how many files a process may open."""

import os
import resource
import shutil
import stat
from collections.abc import Iterator

from connector.receiver.descriptors import RESERVED, handshakes_beside
from connector.receiver.server import MAX_CONNECTIONS
from connector.settings import Settings
from pipelines.doctor.finding import Finding
from pipelines.warehouse.data_folder import DataFolder

_LITTLE_SHARE = 0.05


def look_at_folder(settings: Settings) -> Iterator[Finding]:
    """Yield whether the data folder is there, ours, and closed to others."""
    path = settings.data_dir
    if not path.exists():
        yield Finding(
            "note", "data folder", f"{path} does not exist yet. The first command that writes makes it."
        )
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if not os.access(path, os.W_OK | os.X_OK):
        found = f"{path} can't be written by this user. Start as its owner, or set VERBEX_DATA_DIR."
        yield Finding("problem", "data folder", found)
    elif mode & stat.S_IRWXO:
        found = f"{path} is open to every user ({mode:o}). It holds what callers said: `chmod 700 {path}`."
        yield Finding("problem", "data folder", found)
    else:
        yield Finding("ok", "data folder", f"{path} ({mode:o})")


def look_at_disk(folder: DataFolder) -> Iterator[Finding]:
    """Yield whether the disk has room for the next sync, which may copy the published file."""
    path = next(each for each in (folder.path, *folder.path.parents) if each.exists())
    disk = shutil.disk_usage(path)
    published = folder.warehouse.published
    needed = published.stat().st_size if published.exists() else 0
    found = f"{disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB"
    if disk.free < needed:
        found += f", and a sync may copy the published file of {needed / 1e9:.1f} GB. Make room."
        yield Finding("problem", "disk", found)
    elif disk.free < _LITTLE_SHARE * disk.total:
        yield Finding(
            "note", "disk", f"{found}: nearly full. Make room before the receiver has to answer 503."
        )
    else:
        yield Finding("ok", "disk", found)


def look_at_open_files() -> Iterator[Finding]:
    """Yield whether the receiver may open enough files for all connections that it accepts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + handshakes_beside(MAX_CONNECTIONS) + RESERVED
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        yield Finding("ok", "open files", "The limit allows every connection that the receiver accepts.")
        return
    found = (
        f"A process may open {hard} files, so the receiver accepts fewer than its {MAX_CONNECTIONS} "
        f"connections. Raise the hard limit to {wanted}, as `LimitNOFILE={wanted}` in a systemd unit."
    )
    yield Finding("note", "open files", found)
