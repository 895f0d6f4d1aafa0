"""What a Dagster run works with: the landing zone, and the one writer's session on the warehouse.

Opening and closing belongs here, so that assets stay thin and tests can hand in other folders.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import dagster as dg
import duckdb
from pydantic import PrivateAttr

from connector.landing.files import Landing
from connector.settings import Settings
from pipelines.instance.home import hold_event_log
from pipelines.models.model import Check, Model, load_models, sql_folder
from pipelines.warehouse.audit import Finding, inspect
from pipelines.warehouse.files import Warehouse, WarehouseBusyError
from pipelines.warehouse.lag import TableFacts, look_up
from pipelines.warehouse.session import Sync, open_sync


class WarehouseResource(dg.ConfigurableResource[object]):
    """The warehouse of one data folder, written by one session that all steps of a run share.

    The session opens with the first table that asks for it and ends with the publish or the run,
    whichever comes first, so that a slow API call never holds the warehouse.
    """

    data_dir: str
    landing_url: str
    sql_dir: str
    is_full_refresh: bool = False
    _session: ExitStack = PrivateAttr(default_factory=ExitStack)
    _records: ExitStack = PrivateAttr(default_factory=ExitStack)
    _sync: Sync | None = PrivateAttr(default=None)
    _landing: Landing | None = PrivateAttr(default=None)
    _busy: WarehouseBusyError | None = PrivateAttr(default=None)

    @classmethod
    def from_settings(
        cls, settings: Settings, folder: Path | None = None, *, is_full_refresh: bool = False
    ) -> Self:
        """The warehouse that `settings` describe, made by the SQL of `folder`, or else by our own."""
        return cls(
            data_dir=str(settings.data_dir),
            landing_url=settings.landing,
            sql_dir=str(folder or sql_folder()),
            is_full_refresh=is_full_refresh,
        )

    @property
    def sql(self) -> Path:
        """The folder of SQL."""
        return Path(self.sql_dir)

    @property
    def landing(self) -> Landing:
        """The landing zone that the warehouse is made from."""
        if self._landing is None:  # it remembers what merged files hold
            self._landing = Landing(self.landing_url)
        return self._landing

    def sync(self) -> Sync:
        """The run's session.

        Raises:
            WarehouseBusyError: Another process is writing the warehouse.
        """
        if self._busy is not None:
            raise WarehouseBusyError(str(self._busy))  # one step has waited; the others need not
        if self._sync is None:
            opening = open_sync(self._files, self.landing, self.sql, is_full_refresh=self.is_full_refresh)
            try:
                self._sync = self._session.enter_context(opening)
            except WarehouseBusyError as error:
                self._busy = error
                raise
        return self._sync

    def publish(self) -> Path:
        """Show readers what the session made of the tables, and end the session; returns what they open."""
        self.sync().publish(datetime.now(UTC))
        self.close()
        return self.published

    def is_being_written(self) -> bool:
        """Whether a process is writing the warehouse at this moment."""
        return self._files.is_being_written()

    def read(self) -> duckdb.DuckDBPyConnection:
        """The published warehouse, for reading.

        Raises:
            NothingPublishedError: No sync has published one yet.
        """
        return self._files.read()

    def status(self) -> dict[str, object]:
        """The one row of the published `pipeline_status`, by column name.

        Raises:
            NothingPublishedError: No sync has published one yet.
        """
        with self.read() as connection:
            result = connection.execute("from pipeline_status")
            names = [name for name, *_ in result.description or ()]
            (row,) = result.fetchall()
        return dict(zip(names, row, strict=True))

    def inspect(self, models: Sequence[Model], checks: Sequence[Check]) -> dict[str, tuple[Finding, ...]]:
        """What those of `checks` that keep nothing from being published find in published tables, by table.

        Raises:
            NothingPublishedError: No sync has published one yet.
        """
        with self.read() as connection:
            return {model.table: inspect(connection, model, checks) for model in models}

    def facts(self, wanted: Sequence[Model]) -> dict[str, TableFacts]:
        """What published tables tell of themselves as of their publishing, by table.

        Raises:
            NothingPublishedError: No sync has published one yet.
        """
        models = load_models(self.sql)
        with self.read() as connection:
            ((published_at,),) = connection.execute("select published_at from pipeline_status").fetchall()
            as_of = published_at.replace(tzinfo=UTC)
            return {model.table: look_up(connection, model, models, as_of) for model in wanted}

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Spare the run's records the waiting for the disk."""
        if context.instance is not None:
            self._records.enter_context(hold_event_log(Path(context.instance.root_directory)))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """End the session of a run that published nothing; what it committed stays for the next one."""
        self.close()
        self._records.close()

    def close(self) -> None:
        """End the session, if one is open; the warehouse is free for other writers then."""
        self._sync = self._busy = None
        self._session.close()

    @property
    def published(self) -> Path:
        """What readers open."""
        return self._files.published

    @property
    def _files(self) -> Warehouse:
        return Warehouse(Path(self.data_dir))
