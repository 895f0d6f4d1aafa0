"""The resource of a Dagster run: one writer's session on the tables of a data folder.

Opening and closing the session belongs here, so that assets stay small and tests can use other folders. What
a session does does not belong here: see `pipelines.warehouse.session`.
"""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import dagster as dg
from pydantic import PrivateAttr

from connector.settings import Settings
from pipelines.instance.home import hold_event_log
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.session import Session, open_session


class WarehouseResource(dg.ConfigurableResource[object]):
    """The tables of one data folder, written by one session that all steps of a run share.

    The first step that needs the session opens it. It ends when the tables are published or when the run
    ends, whichever comes first, so that a slow API call never locks the warehouse.
    """

    data_dir: str
    landing_url: str
    sql_dir: str
    is_full_refresh: bool = False
    _folder: DataFolder | None = PrivateAttr(default=None)
    _open: ExitStack = PrivateAttr(default_factory=ExitStack)
    _records: ExitStack = PrivateAttr(default_factory=ExitStack)
    _session: Session | None = PrivateAttr(default=None)
    _busy: WarehouseBusyError | None = PrivateAttr(default=None)

    @classmethod
    def from_settings(
        cls, settings: Settings, sql_dir: Path | None = None, *, is_full_refresh: bool = False
    ) -> Self:
        """Return the tables that `settings` describe, made by the SQL in `sql_dir` or else by our own."""
        return cls.of(DataFolder.from_settings(settings, sql_dir), is_full_refresh=is_full_refresh)

    @classmethod
    def of(cls, folder: DataFolder, *, is_full_refresh: bool = False) -> Self:
        """Return the tables of a data folder."""
        return cls(
            data_dir=str(folder.path),
            landing_url=folder.landing_url,
            sql_dir=str(folder.sql_dir),
            is_full_refresh=is_full_refresh,
        )

    @property
    def folder(self) -> DataFolder:
        """The data folder. It is always the same object, because its landing remembers merged files."""
        if self._folder is None:
            self._folder = DataFolder(Path(self.data_dir), self.landing_url, Path(self.sql_dir))
        return self._folder

    def session(self) -> Session:
        """Return the run's session, and open it if it is not open yet.

        Raises:
            WarehouseBusyError: Another process is writing the warehouse.
        """
        if self._busy is not None:
            raise WarehouseBusyError(str(self._busy))  # one step has waited already; the others fail at once
        if self._session is None:
            opening = open_session(self.folder, is_full_refresh=self.is_full_refresh)
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
        return self.folder.warehouse.published

    def close(self) -> None:
        """End the session, if one is open, so that other writers can use the warehouse."""
        self._session = self._busy = None
        self._open.close()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Keep the event log open, so that the run's records do not wait for the disk."""
        if context.instance is not None:
            self._records.enter_context(hold_event_log(Path(context.instance.root_directory)))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """End the session of a run that published nothing. What it committed is used by the next run."""
        self.close()
        self._records.close()
