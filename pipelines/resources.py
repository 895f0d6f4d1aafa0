"""What a Dagster run works with: the one writer's session on the tables of a data folder.

Opening and closing belongs here, so that assets stay thin and tests can hand in other folders.
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

    The session opens with the first table that asks for it and ends with the publish or the run,
    whichever comes first, so that a slow API call never holds the warehouse.
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
        """The tables that `settings` describe, made by the SQL of `sql_dir`, or else by our own."""
        return cls.of(DataFolder.from_settings(settings, sql_dir), is_full_refresh=is_full_refresh)

    @classmethod
    def of(cls, folder: DataFolder, *, is_full_refresh: bool = False) -> Self:
        """The tables of a data folder."""
        return cls(
            data_dir=str(folder.path),
            landing_url=folder.landing_url,
            sql_dir=str(folder.sql_dir),
            is_full_refresh=is_full_refresh,
        )

    @property
    def folder(self) -> DataFolder:
        """The data folder; the same one for as long as this resource lives, since its landing remembers."""
        if self._folder is None:
            self._folder = DataFolder(Path(self.data_dir), self.landing_url, Path(self.sql_dir))
        return self._folder

    def session(self) -> Session:
        """The run's session.

        Raises:
            WarehouseBusyError: Another process is writing the warehouse.
        """
        if self._busy is not None:
            raise WarehouseBusyError(str(self._busy))  # one step has waited; the others need not
        if self._session is None:
            opening = open_session(self.folder, is_full_refresh=self.is_full_refresh)
            try:
                self._session = self._open.enter_context(opening)
            except WarehouseBusyError as error:
                self._busy = error
                raise
        return self._session

    def publish(self) -> Path:
        """Publish what the session made of the tables, and end the session; returns what readers open."""
        self.session().publish(datetime.now(UTC))
        self.close()
        return self.folder.warehouse.published

    def close(self) -> None:
        """End the session, if one is open; the warehouse is free for other writers then."""
        self._session = self._busy = None
        self._open.close()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Spare the run's records the waiting for the disk."""
        if context.instance is not None:
            self._records.enter_context(hold_event_log(Path(context.instance.root_directory)))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """End the session of a run that published nothing; what it committed stays for the next one."""
        self.close()
        self._records.close()
