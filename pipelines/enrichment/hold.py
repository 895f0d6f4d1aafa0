"""The wait that Verbex asked for, remembered between fetches and between processes.

Only this wait belongs here. Waiting within one fetch does not: see `connector.verbex.pace`.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from connector.system.files import open_ours
from connector.verbex.answer import VerbexError
from connector.verbex.pace import LONGEST_WAIT_S
from pipelines.warehouse.data_folder import DataFolder

_CLOCK_STEP = timedelta(minutes=1)
"""A clock is often set back by this much. One that was further ahead was wrong, and so is what it noted."""


def held_until(folder: DataFolder, now: datetime) -> datetime | None:
    """Return the time until which Verbex asked us to wait, UTC, or None if there is no such wait now.

    A file remembers it, because the next fetch usually runs in another process.
    """
    try:
        noted_at, until = (datetime.fromisoformat(text) for text in _path(folder).read_text().split())
        is_held = noted_at - _CLOCK_STEP <= now < until <= noted_at + timedelta(seconds=LONGEST_WAIT_S + 1)
    except (FileNotFoundError, ValueError, TypeError, OverflowError):
        return None  # also a file of an earlier version: Verbex asks us to wait again if it must
    return until if is_held else None


def note_hold(folder: DataFolder, error: VerbexError | OSError, now: datetime) -> None:
    """Remember how long Verbex asked us to wait from `now` (UTC) on, if it did.

    Raises:
        OSError: The file that remembers it can't be written, or is a link.
    """
    wait_s = error.retry_after_s if isinstance(error, VerbexError) else None
    if wait_s:
        until = now + timedelta(seconds=wait_s)
        descriptor = open_ours(_path(folder), os.O_WRONLY | os.O_TRUNC, 0o644)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            file.write(f"{now.isoformat()} {until.isoformat()}")


def explain_hold(until: datetime) -> str:
    """Return the reason why nothing is asked, as a sentence."""
    return f"Verbex asked us to wait until {until:%Y-%m-%d %H:%M:%S} UTC."


def _path(folder: DataFolder) -> Path:
    return folder.path / "fetch.hold"
