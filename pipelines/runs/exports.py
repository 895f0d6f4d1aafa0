"""Exports beside follow mode: each target has a thread of its own, so that a slow or dead one delays nothing.

When an export starts, and the wait after one that failed, belongs here. Exporting does not: see
`pipelines.exports.export`.
"""

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from pipelines.exports.address import Address
from pipelines.exports.export import Exported, export
from pipelines.runs.patience import Echo, Patience
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError

_LOOK_EVERY_S = 0.5
_LAST_WAIT_S = 5.0


@dataclass
class BackgroundExport:
    """The exports to one target, one after the other. One that was killed does no harm."""

    folder: DataFolder
    url: str = field(repr=False)
    name: str
    echo: Echo
    done: deque[Exported] = field(default_factory=deque)
    """The exports that wrote something, until somebody takes them."""
    _is_due: threading.Event = field(default_factory=threading.Event)
    _is_stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def address(self) -> Address:
        """The target, as it may be shown."""
        return Address(self.url)

    def start(self) -> None:
        """Export what is published now, and from then on whatever `wake` tells of."""
        self._is_due.set()
        self._thread = threading.Thread(target=self._run, name=f"export {self.address}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tell that something was published."""
        self._is_due.set()

    def stop(self) -> None:
        """End after the current export, or give that one up if it takes long."""
        self._is_stopping.set()
        self._is_due.set()
        if self._thread is not None:
            self._thread.join(_LAST_WAIT_S)

    def _run(self) -> None:
        patience = Patience(f"The export to {self.address}", self.echo)
        while not self._is_stopping.is_set():
            if self._is_due.wait(_LOOK_EVERY_S) or patience.pause_s:
                patience.attempt(self._export)
                self._is_stopping.wait(_LOOK_EVERY_S)

    def _export(self) -> None:
        self._is_due.clear()
        with suppress(NothingPublishedError):
            exported = export(self.folder, self.url)
            if exported.tables:
                self.done.append(exported)
