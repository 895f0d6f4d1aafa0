"""Actions beside follow mode: what rules want goes out in a thread of its own, and delays no row.

When it starts, and the wait after it failed, belongs here. Acting does not: see `pipelines.actions`.
"""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from connector.settings import Settings
from connector.system.loop import run
from pipelines.actions.attempts import Acted
from pipelines.actions.dispatcher import Dispatcher, new_dispatcher
from pipelines.runs.patience import Echo, Patience
from pipelines.warehouse.data_folder import DataFolder

_LOOK_EVERY_S = 0.5
_LAST_WAIT_S = 30.0


@dataclass
class BackgroundActions:
    """What the rules of the settings want, sent while follow mode runs. One that was killed does no harm."""

    settings: Settings
    folder: DataFolder
    echo: Echo
    _dispatcher: Dispatcher | None = None
    _is_stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Act on each publish from now on, if the settings name a rule."""
        if self.settings.actions:
            self._thread = threading.Thread(target=self._run, name="actions", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let what is on its way arrive, and end."""
        self._is_stopping.set()
        if self._thread is not None:
            self._thread.join(_LAST_WAIT_S)

    def take_done(self) -> dict[str, Acted]:
        """Return what was done since this was asked last, by rule."""
        return {} if self._dispatcher is None else self._dispatcher.take_done()

    def _run(self) -> None:
        patience = Patience("Acting", self.echo)
        while not self._is_stopping.is_set():
            patience.attempt(self._act)
            self._is_stopping.wait(_LOOK_EVERY_S)

    def _act(self) -> None:
        self._dispatcher = new_dispatcher(self.settings, self.folder, self.echo)
        with suppress(asyncio.CancelledError):  # it is to end
            run(self._dispatcher.follow(), stop=self._is_stopping)
