"""The wait that Verbex asked for, remembered between fetches and between processes.

Only this wait belongs here. Waiting within one fetch does not: see `connector.verbex.pace`.
"""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.verbex.answer import VerbexError
from connector.verbex.pace import LONGEST_WAIT_S
from pipelines.warehouse.data_folder import DataFolder


def held_until(folder: DataFolder, now: datetime) -> datetime | None:
    """Return the time until which Verbex asked us to wait, UTC, or None if there is no such wait now.

    A file remembers it, because the next fetch usually runs in another process.
    """
    try:
        until = datetime.fromtimestamp(float(_path(folder).read_text()), UTC)
    except (FileNotFoundError, ValueError):
        return None
    # A time that is further away than any wait was noted before the clock was set back.
    return until if now < until <= now + timedelta(seconds=LONGEST_WAIT_S) else None


def note_hold(folder: DataFolder, error: VerbexError | OSError) -> None:
    """Remember how long Verbex asked us to wait, if it did."""
    wait_s = error.retry_after_s if isinstance(error, VerbexError) else None
    if wait_s:
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        _path(folder).write_text(str(math.ceil(until.timestamp())))


def explain_hold(until: datetime) -> str:
    """Return the reason why nothing is asked, as a sentence."""
    return f"Verbex asked us to wait until {until:%Y-%m-%d %H:%M:%S} UTC."


def _path(folder: DataFolder) -> Path:
    return folder.path / "fetch.hold"
