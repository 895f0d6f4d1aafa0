"""A session: one writer loads what landed into the tables of a warehouse file, and publishes the file.

The order of these steps, and what happens if one fails, belongs here. How a table is loaded and refreshed
does not: see `pipelines.warehouse.loader` and `pipelines.warehouse.refresh`. Which file is written does not
either: see `pipelines.warehouse.files`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path  # noqa: TC003 - as everywhere else
from uuid import uuid4

import duckdb

from connector.errors import OperatorError
from pipelines.models.load import read_query
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import Column, ModelError
from pipelines.warehouse.audit import AuditError, Finding, inspect, unknown
from pipelines.warehouse.catalog import describe_columns
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.database import is_damage, is_held_for_writing
from pipelines.warehouse.files import WarehouseFile
from pipelines.warehouse.lag import measure_lag
from pipelines.warehouse.ledger import Ahead, ahead_of
from pipelines.warehouse.loader import Loader
from pipelines.warehouse.memory import too_little_memory
from pipelines.warehouse.refresh import Refresher
from pipelines.warehouse.sources import SOURCES, source_of
from pipelines.warehouse.update import TableUpdate
from pipelines.warehouse.wide_views import make_views


class Session:
    """One writer's work on the next warehouse file in turn.

    That file may lack what the other files loaded since its last turn. So a table loads every landed file
    that this warehouse file has not loaded, both the new ones and those that another file has loaded before.
    """

    def __init__(
        self,
        file: WarehouseFile,
        folder: DataFolder,
        *,
        is_full_refresh: bool = False,
        is_loss_known: bool = False,
    ) -> None:
        self._file = file
        self._sql_dir = folder.sql_dir
        self._longest_call_s = folder.longest_call_s
        sql = folder.sql
        self._models = sql.models
        self._refresher = Refresher(file.connection, self._models, sql.checks)
        self._unusable = sql.unusable
        self._reference: Path | None = None
        self._published = self._look_at_published()
        self._refresher.log.open(self._reference)
        self._loader = Loader(
            file.connection,
            folder.landing,
            self._refresher,
            self._published,
            is_full_refresh=is_full_refresh,
            is_loss_known=is_loss_known,
        )
        self._updated: set[str] = set()
        self._held_back: dict[str, OperatorError] = {}

    def update(self, model: Model) -> TableUpdate:
        """Bring one table up to date with what it reads: other tables, or landing.

        If a table that it reads does not exist, for example because its SQL changed, that is built first.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
            MissingFilesError: Landing lacks files that tables were loaded from; the table is as it was.
            TooLittleMemoryError: DuckDB may hold too little memory for it; the table is as it was.
            ModelError: Its SQL can't be run on what is there, or a table that it reads was not updated; the
                table is as it was.
        """
        model = self._of_today(model)
        self._updated.add(model.table)
        try:
            self._refuse_unusable(model)
            self._build_missing(model.upstream)
            self._refuse_held_back(model)
            return self._loader.update(model)
        except (AuditError, ModelError) as error:
            self._held_back[model.table] = error
            raise
        except duckdb.OutOfMemoryException as error:
            self._held_back[model.table] = too_little_memory(self._file.connection, model.table)
            raise self._held_back[model.table] from error
        except duckdb.Error as error:
            self._held_back[model.table] = ModelError(
                f"{model.table} was not updated: {model.where()} failed. Fix it, then "
                f"run `verbex-sync sync`. DuckDB reports: {error}"
            )
            raise self._held_back[model.table] from error

    def _of_today(self, model: Model) -> Model:
        """Return the model as its file is now: Dagster's is as old as its definitions."""
        for own in self._models:
            if own.table == model.table:
                return own
        raise ModelError(
            f"{model.table} was not updated: {model.where()} is gone. Put it back, or "
            "reload the definitions in Dagster."
        )

    @property
    def held_back(self) -> Mapping[str, OperatorError]:
        """The tables that could not be updated, with the reason. They and their readers stay as published."""
        return self._held_back

    @property
    def unusable(self) -> tuple[str, ...]:
        """Why files can't be used, or checks not be run, one text for each. The rest goes on without them."""
        return (*(each.problem for each in self._unusable), *self._refresher.not_run.values())

    def is_done(self, tables: Collection[str]) -> bool:
        """Return whether each of `tables` was updated or can't be, because of a table that is held back."""
        held_back = {model.table for model in self._list_held_back()}
        return set(tables) <= self._updated | held_back

    def _refuse_unusable(self, model: Model) -> None:
        if model.problem:
            raise ModelError(f"{model.table} was not updated: {model.problem}")
        for each in self._unusable:
            # A table that loads from landing would take all others with it, so it goes on unchecked.
            if each.blocks == model.table and source_of(model) is None:
                raise ModelError(f"{model.table} was not updated: its check can't be used. {each.problem}")
        known = {each.table for each in self._models} | {source.relation for source in SOURCES}
        for table in sorted(model.upstream - known):
            raise ModelError(
                f"{model.table} was not updated: {model.where()} reads `{table}`, which "
                "no model makes, so nothing shows when it changes. Read the tables that it is made from."
            )

    def _refuse_held_back(self, model: Model) -> None:
        for table in sorted(model.upstream & self._held_back.keys()):
            raise ModelError(f"{model.table} was not updated: it reads {table}, which was not updated.")

    def inspect(self, model: Model, checks: Sequence[Check], as_of: datetime) -> tuple[Finding, ...]:
        """Run the non-blocking checks of `model` at `as_of`, and return what is known of all its checks.

        The blocking checks ran when the table was updated, unless a table that they read does not exist yet.
        """
        left_out = (
            unknown(check, problem)
            for check in checks
            if check.model == model.table and check.is_blocking and (problem := self._why_not_run(check))
        )
        found = inspect(self._file.connection, model, checks, as_of, self._longest_call_s)
        return (*found, *left_out)

    def _why_not_run(self, check: Check) -> str:
        if not self._refresher.can_run(check):
            return "A table that it reads does not exist yet."
        return self._refresher.not_run.get(check.name, "")

    def measure_lag(self, model: Model, as_of: datetime) -> float | None:
        """Return the lag of the table of `model` at `as_of` [s], None if it is made from nothing received."""
        return measure_lag(self._file.connection, model, self._models, as_of)

    def describe_columns(self, model: Model) -> tuple[Column, ...]:
        """Return the columns of the table of `model`."""
        return describe_columns(self._file.connection, model)

    def has_table(self, model: Model) -> bool:
        """Return whether the table of `model` exists, at least as it was."""
        return self._refresher.stands(model)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models, in the order in which they are updated."""
        return self._models

    def publish(self, published_at: datetime) -> None:
        """Publish this file's tables, and end the session.

        Tables that could not be updated stay as published, with all that reads them: see `held_back`.

        Args:
            published_at: The time that `pipeline_status` shows.

        Raises:
            AuditError: A table that loads from landing failed a check. Nothing is published.
            ModelError: The same for its SQL, or a table that `pipeline_status` reads can't be built.
        """
        if any(model.table not in self._updated for model in self._models):
            # Even if no file is missing: a table must not be published older than one that it reads.
            self.follow_published()
        self._build_missing({model.table for model in self._models})
        self._keep_held_back()
        self._make_views()
        self._write_status(published_at)
        self._refresher.log.close(self._reference, uuid4(), published_at)
        self._file.publish()

    def _list_held_back(self) -> list[Model]:
        """List the models that could not be updated, and all that reads their tables."""
        tables = set(self._held_back)
        for model in self._models:  # each stands after what it reads
            if model.upstream & tables:
                tables.add(model.table)
        return [model for model in self._models if model.table in tables]

    def _keep_held_back(self) -> None:
        """Give tables that could not be updated their published rows. Files take turns: ours are older."""
        models = self._list_held_back()
        for model in models:
            if source_of(model):  # nearly everything is made from these tables
                raise self._held_back[model.table]
            if model.table not in self._held_back:
                with suppress(ModelError):
                    self.update(model)  # notes the reason
        if models:
            self._refresher.keep_published(models, self._reference)

    def _make_views(self) -> None:
        try:
            make_views(self._file.connection)
        except duckdb.Error as error:
            self._held_back["pca_views"] = ModelError(
                "The wide views were not updated: they don't fit sql/marts/calls_enriched.sql or "
                f"sql/marts/pca_views.sql. Fix these. DuckDB reports: {error}"
            )

    def _write_status(self, published_at: datetime) -> None:
        status = read_query(self._sql_dir, "pipeline_status")
        try:
            self._file.connection.execute(
                f"create or replace table pipeline_status as {status}",
                {"published_at": published_at},
            )
        except duckdb.Error as error:
            for cause in self._held_back.values():
                raise cause from error
            raise

    def follow_published(self) -> None:
        """Load what the published file has and this one lacks, so that no publish goes back in time."""
        for model in self._models:
            source = source_of(model)
            if source is None:
                if model.table not in self._held_back:
                    with suppress(AuditError, ModelError):  # `held_back` has them
                        self.update(model)  # cheap, unless a table that it reads has just been loaded
            elif model.table not in self._updated and self._file.references and self._reference is None:
                self.update(model)  # what the published file has can't be known, so everything is loaded
            elif model.table not in self._updated:
                self._loader.load_missed(model, source)

    def _look_at_published(self) -> Ahead:
        for path in self._file.references:
            try:
                ahead = ahead_of(self._file.connection, path)
            except (duckdb.CatalogException, duckdb.BinderException):
                continue  # its bookkeeping is another version's
            except duckdb.Error as error:
                if not (is_damage(error) or is_held_for_writing(error)):
                    raise
            else:
                self._reference = path
                return ahead
        return Ahead()  # this session publishes another file in place of one that can't be read

    def _build_missing(self, tables: Collection[str]) -> None:
        for model in self._models:
            is_missing = model.table in tables and not self._refresher.stands(model)
            if is_missing and model.table not in self._held_back:
                with suppress(AuditError, ModelError):  # `held_back` has them
                    self.update(model)


@contextmanager
def open_session(
    folder: DataFolder, *, is_full_refresh: bool = False, is_loss_known: bool = False
) -> Iterator[Session]:
    """Take the writer's place and open the file whose turn it is.

    Args:
        folder: What to read and to write.
        is_full_refresh: Whether every table is to be built from landing again.
        is_loss_known: Whether to go on where landing lacks files that were loaded before.

    Raises:
        WarehouseBusyError: Another process is writing the warehouse.
    """
    with folder.warehouse.write(is_fresh=is_full_refresh) as file:
        yield Session(file, folder, is_full_refresh=is_full_refresh, is_loss_known=is_loss_known)
