"""One fetch: Verbex is asked once for everything that is due, and its raw answers land.

What to ask for, and that only one process asks at a time, belong here. It is read from the published tables,
and only landing is written, so a slow API delays no row. The next load brings the answers into the tables.
Requests do not belong here: see `connector.fetch`.
"""

import random
import threading
from datetime import UTC, datetime
from pathlib import Path

from connector.errors import OperatorError
from connector.fetch.calls import FETCHED_ZONES, Fetched, fetch_due
from connector.landing.zones import Zone
from connector.settings import Settings
from connector.system.files import make_folder
from connector.system.lock import PATIENCE_S, hold_lock, is_held
from connector.system.loop import run
from connector.verbex.answer import ApiUnavailableError
from pipelines.enrichment.due import list_due, list_unavailable
from pipelines.enrichment.hold import explain_hold, held_until, note_hold
from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder


class NotLandedError(OperatorError):
    """A landing zone that can't store what Verbex answers."""

    def __init__(self, settings: Settings, error: OSError) -> None:
        super().__init__(
            f"{settings.landing} can't store what Verbex answers: {error}. Fix this and run it again to "
            "fetch the rest."
        )


def fetch_all(
    settings: Settings, folder: DataFolder, *, again: Span | None = None, stop: threading.Event | None = None
) -> Fetched:
    """Ask once for everything that is due, and for what is unavailable in `again`.

    An unavailable call is past its time limit. If Verbex still has nothing for it, it is unavailable again,
    and is not asked for again by itself. Nothing is asked while Verbex has asked us to wait.

    Raises:
        LockHeldError: Another process is already asking. With `again` it is still asking after a minute: this
            one waits, because the other one asks only for what is due.
        NotAuthorizedError: The key is not accepted. What was answered before is landed.
        NotLandedError: Landing can't store the answers.
        asyncio.CancelledError: `stop` was set. What was answered before is landed.
    """
    fetched = Fetched()
    make_folder(folder.path)
    with hold_lock(_lock_of(folder), wait_s=0 if again is None else PATIENCE_S):
        if (until := held_until(folder, datetime.now(UTC))) is not None:
            return Fetched(stopped_by=ApiUnavailableError(explain_hold(until)))
        for zone in FETCHED_ZONES:
            fetched += _fetch_zone(settings, folder, zone, again, stop)
            if fetched.stopped_by is not None:
                note_hold(folder, fetched.stopped_by, datetime.now(UTC))
                break
    if fetched.is_all_forbidden and fetched.forbidden_by is not None:
        raise fetched.forbidden_by
    return fetched


def is_fetching(folder: DataFolder) -> bool:
    """Return whether a process is asking Verbex at this moment."""
    return is_held(_lock_of(folder))


def _fetch_zone(
    settings: Settings, folder: DataFolder, zone: Zone, again: Span | None, stop: threading.Event | None
) -> Fetched:
    due = list_due(folder, zone, datetime.now(UTC))
    if again is not None:
        due += list_unavailable(folder, zone, again)
    if not due:
        return Fetched()
    # What was asked often in vain must not keep the others waiting, however long it has been due.
    due.sort(key=lambda one: one.attempts)
    asking = fetch_due(due, zone=zone, settings=settings, landing=folder.landing, rng=random.SystemRandom())
    try:
        return run(asking, stop=stop)
    except OSError as error:
        raise NotLandedError(settings, error) from error


def _lock_of(folder: DataFolder) -> Path:
    return folder.path / "fetch.lock"
