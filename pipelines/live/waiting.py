"""How many landed files the tables lack, asked without waiting for a store that does not answer.

A folder of this machine is looked at when somebody asks. A bucket is asked in a thread of its own, because
one that can't be reached may take minutes to fail. What follows from the count does not belong here: see
`pipelines.live.health`.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipelines.live.words import age
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError
from pipelines.warehouse.intake import MissingFilesError, list_new_files

_ASK_BUCKET_EVERY = timedelta(seconds=20)
_PATIENCE = timedelta(seconds=15)


@dataclass(frozen=True)
class Waiting:
    """What a look at landing found.

    Attributes:
        files: Landed files that the tables lack [count]; None if that is not known.
        missing: Landed files that the tables were loaded from, and that are gone [count].
        warning: Why it is not known, with the next step; empty if it is.
    """

    files: int | None = None
    missing: int = 0
    warning: str = ""


@dataclass
class WaitingFiles:
    """Looks at landing again and again, one look at a time."""

    folder: DataFolder
    _found: Waiting = field(default_factory=Waiting)
    _asked_at: datetime | None = None
    _look: threading.Thread | None = None

    def count(self, now: datetime) -> Waiting:
        """Return what the newest look found, and that a look has had no answer for long."""
        if self.folder.landing.is_local:
            return _count(self.folder)
        if self.is_asking and self._asked_at is not None:
            return self._unless_late(now - self._asked_at)
        if self._asked_at is None or not timedelta() <= now - self._asked_at < _ASK_BUCKET_EVERY:
            self._asked_at = now
            self._look = threading.Thread(target=self._ask, name="landing", daemon=True)
            self._look.start()
        return self._found

    @property
    def is_asking(self) -> bool:
        """Whether a bucket has not answered yet."""
        return self._look is not None and self._look.is_alive()

    def _ask(self) -> None:
        self._found = _count(self.folder)

    def _unless_late(self, asked_since: timedelta) -> Waiting:
        if asked_since < _PATIENCE:
            return self._found
        return Waiting(
            warning=f"Landing ({self.folder.landing.url}) has not answered for {age(asked_since)}, so "
            "whether something waits to be loaded is not known. See whether this machine reaches it."
        )


def _count(folder: DataFolder) -> Waiting:
    try:
        return Waiting(len(list_new_files(folder, folder.models)))
    except MissingFilesError as error:
        return Waiting(missing=len(error.paths), warning=str(error))
    except NothingPublishedError:
        return Waiting()
    except Exception as error:  # noqa: BLE001 - a look that fails ends no page
        return Waiting(warning=f"Landing can't be read: {error}")
