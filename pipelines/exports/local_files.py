"""Files of targets on this machine: what a URL may say of them, who writes them now, how they are swapped.

What is in the files, and which of them are ours, does not belong here: each target knows its own.
"""

import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from connector.errors import EXIT_USAGE
from connector.system.files import fsync_path
from connector.system.lock import LockHeldError, hold_lock
from pipelines.exports.address import Address
from pipelines.exports.target import TargetError


class UnusableUrlError(TargetError):
    """A URL that names no file or folder of this machine, or has an option that there is not."""

    exit_code = EXIT_USAGE


def path_of(address: Address, example: str) -> Path:
    """Return the file or folder that a URL names.

    Raises:
        UnusableUrlError: It names none, or not plainly.
    """
    before_options = address.url.partition("?")[0]
    if not address.path.strip() or address.path.startswith("//") or "#" in before_options:
        raise UnusableUrlError(f"{address} names no file or folder of this machine. Write {example}.")
    return Path(address.path)


def choose(address: Address, **choices: Sequence[str]) -> dict[str, str]:
    """Return the value of each option: what the URL says, or else the first one of its choices.

    Raises:
        UnusableUrlError: The URL has another option or another value.
    """
    for name, value in address.options.items():
        if value not in choices.get(name, ()):
            known = ", ".join(f"{each}={'|'.join(values)}" for each, values in choices.items())
            raise UnusableUrlError(
                f"{address} has an option or a value of it that there is not: {name}. Nothing was written. "
                f"There are: {known or 'none'}."
            )
    return {name: address.options.get(name, values[0]) for name, values in choices.items()}


@contextmanager
def only_writer(address: Address, lock: Path, wait_s: float) -> Iterator[None]:
    """Let no other process write to a target while the block runs.

    Raises:
        TargetError: Another process still does after `wait_s` seconds.
    """
    with ExitStack() as held:
        try:
            with using(address):
                held.enter_context(hold_lock(lock, wait_s=wait_s))
        except LockHeldError as error:
            raise TargetError(
                f"Another process ({error.holder}) exports to {address} now. Nothing was written. Run this "
                "again later."
            ) from None
        yield


@contextmanager
def using(address: Address) -> Iterator[None]:
    """Turn what the system reports in the block into the error of a target.

    Raises:
        TargetError: The system could not read or write a file.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = f" ({error.filename})" if error.filename else ""
        raise TargetError(
            f"{address} can't be read or written: {reason}{where}. Every file that was there is still whole. "
            "Put that right, and export again."
        ) from error


def swap(aside: Path, path: Path) -> None:
    """Let a complete file take the place of another, durably. Readers find the old or the new one, whole.

    It gets the permissions of the old one, which a person may have chosen.

    Raises:
        OSError: It can't. The old one stays.
    """
    with suppress(FileNotFoundError):
        aside.chmod(stat.S_IMODE(path.stat().st_mode))
    fsync_path(aside)
    aside.replace(path)
    fsync_path(path.parent)
