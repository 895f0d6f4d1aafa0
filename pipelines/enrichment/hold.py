"""How long Verbex asked us to wait, remembered between passes and processes.

Only the wait belongs here. Within one pass `connector.verbex.pace` obeys it.
"""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.verbex.answer import VerbexError
from connector.verbex.pace import LONGEST_WAIT_S
from pipelines.warehouse.data_folder import DataFolder


def held_until(folder: DataFolder, now: datetime) -> datetime | None:
    """Until when Verbex asked us to wait, UTC; None if it did not, or if that is over.

    A file remembers it: whoever asks next is another pass, and mostly another process.
    """
    try:
        until = datetime.fromtimestamp(float(_path(folder).read_text()), UTC)
    except (FileNotFoundError, ValueError):
        return None
    # One that is further off than any wait was noted by a clock that has been put back since.
    return until if now < until <= now + timedelta(seconds=LONGEST_WAIT_S) else None


def note_hold(folder: DataFolder, error: VerbexError | OSError) -> None:
    """Remember how long Verbex asked us to wait, if it did."""
    wait_s = error.retry_after_s if isinstance(error, VerbexError) else None
    if wait_s:
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        _path(folder).write_text(str(math.ceil(until.timestamp())))


def explain_hold(until: datetime) -> str:
    """Say why nothing is asked."""
    return f"Verbex asked us to wait until {until:%Y-%m-%d %H:%M:%S} UTC."


def _path(folder: DataFolder) -> Path:
    return folder.path / "fetch.hold"
