"""The resource of a Dagster run: one writer's session on the tables of a data folder.

Opening and closing the session belongs here, so that assets stay small and tests can use other folders. Only
the settings say where the tables are: who can start a run must not choose what it reads or writes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import dagster as dg

from connector.settings import Settings
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.session import Session, open_session


class WarehouseResource:
    """The tables of one data folder, written by one session that all steps of a run share.

    The first step that needs the session opens it. It ends when the tables are published or when the run
    ends, whichever comes first, so that a slow API call never locks the warehouse.
    """

    def __init__(
        self, folder: DataFolder, *, is_full_refresh: bool = False, is_loss_known: bool = False
    ) -> None:
        self.folder = folder
        self._is_full_refresh = is_full_refresh
        self._is_loss_known = is_loss_known
        self._open = ExitStack()
        self._session: Session | None = None
        self._busy: WarehouseBusyError | None = None
        self.at_end: Callable[[], None] | None = None
        """Called when a run ends, before its session does."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the tables that `settings` describe."""
        return cls(DataFolder.from_settings(settings))

    def definition(self) -> dg.ResourceDefinition:
        """Return the resource for Dagster. No run can configure it, and each run closes what it opened."""

        @dg.resource(config_schema={}, description="The tables of the data folder that the settings name.")
        def warehouse() -> Iterator[WarehouseResource]:
            try:
                yield self
            finally:
                self._end()  # what it committed is used by the next run

        return warehouse

    def session(self) -> Session:
        """Return the run's session, and open it if it is not open yet.

        Raises:
            WarehouseBusyError: Another process is writing the warehouse.
        """
        if self._busy is not None:
            raise WarehouseBusyError(str(self._busy))  # one step has waited already; the others fail at once
        if self._session is None:
            opening = open_session(
                self.folder, is_full_refresh=self._is_full_refresh, is_loss_known=self._is_loss_known
            )
            try:
                self._session = self._open.enter_context(opening)
            except WarehouseBusyError as error:
                self._busy = error
                raise
        return self._session

    def publish(self) -> Path:
        """Publish the session's tables, end the session, and return the path that readers open."""
        self.session().publish(datetime.now(UTC))
        self.close()
        self._is_full_refresh = False  # what a command loads after its refresh is only what is new
        return self.folder.warehouse.published

    def _end(self) -> None:
        at_end, self.at_end = self.at_end, None
        try:
            if at_end is not None:
                at_end()
        finally:
            self.close()

    def close(self) -> None:
        """End the session, if one is open, so that other writers can use the warehouse."""
        self._session = self._busy = None
        self._open.close()
