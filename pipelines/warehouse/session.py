"""A sync: what landed since the last one, brought into every table, then shown to readers.

The order of things on one warehouse file belongs here. How one table is refreshed does not
(`pipelines.warehouse.refresh`), nor which file is written (`pipelines.warehouse.files`).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from connector.landing.files import LandedFile, Landing
from pipelines.models.load import load_checks, load_models, read_query
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import Column, ModelError
from pipelines.warehouse.audit import Finding, inspect
from pipelines.warehouse.catalog import describe_columns
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import WarehouseFile, is_damage
from pipelines.warehouse.intake import find_new_files
from pipelines.warehouse.lag import measure_lag
from pipelines.warehouse.ledger import Ahead, ahead_of
from pipelines.warehouse.refresh import Refreshed, Refresher
from pipelines.warehouse.sources import FileCount, Source, chunks_of, read_chunk, source_of
from pipelines.warehouse.wide_views import make_views

# Bounds the memory of a load: landed files hold about five times their size in raw bytes, and storing these
# takes as much again. Smaller ones cost time: each leaves a row group that is not full, which DuckDB merges.
_CHUNK_BYTES = 96 * 1024 * 1024
_CHUNK_FILES = 2_000


@dataclass(frozen=True)
class TableUpdate:
    """What an update did to one table, and what it read, beyond what was published before.

    `rows_added` is how many more rows the table has; `has_changed` whether any row was written or removed.
    `rows_read` counts the rows of the landed files, `rows_taken` those of them that are this table's;
    `unreadable` maps a landed file that was set aside to the reason.
    """

    rows_added: int = 0
    row_count: int = 0
    has_changed: bool = False
    files_read: int = 0
    rows_read: int = 0
    rows_taken: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)

    def __add__(self, later: "TableUpdate") -> "TableUpdate":
        """This update and a later one of the same table as one."""
        return TableUpdate(
            self.rows_added + later.rows_added,
            later.row_count,
            self.has_changed or later.has_changed,
            self.files_read + later.files_read,
            self.rows_read + later.rows_read,
            self.rows_taken + later.rows_taken,
            self.unreadable | later.unreadable,
        )


class Session:
    """One writer's work on the warehouse file whose turn it is.

    That file may lack what others took in since its last turn: landed files are what a table is brought up
    to date with, whoever has read them before, so what was missed and what is new are one load.
    """

    def __init__(self, file: WarehouseFile, landing: Landing, sql_dir: Path) -> None:
        self._file = file
        self._landing = landing
        self._sql_dir = sql_dir
        self._models = load_models(sql_dir)
        self._refresher = Refresher(file.connection, self._models, load_checks(sql_dir))
        self._published = self._look_at_published()
        self._row_counts = dict(self._published.row_counts)
        self._known_paths = self._published.paths
        self._updated: set[str] = set()

    def update(self, model: Model) -> TableUpdate:
        """Bring one table up to date with what it reads; landing itself is read if that is its source.

        A table that it reads and that is not there, as when its SQL changed, is built first.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
            ModelError: Its SQL can't be run on what is there; the table is as it was.
        """
        self._build_missing(model.upstream)
        self._updated.add(model.table)
        try:
            return self._update(model)
        except duckdb.Error as error:
            raise ModelError(
                f"{model.table} was left as it was, because {model.folder}/{model.name}.sql failed: {error}"
            ) from error

    def _update(self, model: Model) -> TableUpdate:
        source = source_of(model)
        if source is None:
            return self._report(model, self._refresher.refresh(model))
        found = find_new_files(self._file.connection, self._landing, source.zone, [model.table])
        update = self._load(model, source, found.files)
        if found.marks and not update.unreadable:
            self._refresher.ledger.add_days(model, found.marks)
        return update

    def inspect(self, model: Model, checks: Sequence[Check]) -> tuple[Finding, ...]:
        """What those of `checks` that keep nothing from being published find in the table of `model`."""
        about_it = [
            check for check in checks if check.model == model.table and self._refresher.can_run(check)
        ]
        return inspect(self._file.connection, model, about_it)

    def measure_lag(self, model: Model, as_of: datetime) -> float | None:
        """How far the table of `model` is behind as of `as_of` [s]; None if it is made from no receipts."""
        return measure_lag(self._file.connection, model, self._models, as_of)

    def describe_columns(self, model: Model) -> tuple[Column, ...]:
        """The columns of the table of `model`."""
        return describe_columns(self._file.connection, model)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models in the order in which they are brought up to date."""
        return self._models

    def publish(self, published_at: datetime) -> None:
        """Show this file's tables to readers, dated `published_at`; the sync is over then.

        Raises:
            AuditError: A table that was not there yet could not be built; nothing is shown.
        """
        if any(model.table not in self._updated for model in self._models):
            self.follow_published()  # also where it lacks nothing: no table is shown behind one that it reads
        self._build_missing({model.table for model in self._models})
        make_views(self._file.connection)
        status = read_query(self._sql_dir, "pipeline_status")
        self._file.connection.execute(
            f"create or replace table pipeline_status as {status}",
            {"published_at": published_at.astimezone(UTC).replace(tzinfo=None)},
        )
        self._file.publish()

    def reset(self) -> None:
        """Forget every table, so that the updates that follow build all of them from landing."""
        self._refresher.reset(self._models)
        self._published = self._look_at_published()
        self._row_counts, self._known_paths = {}, {}

    def follow_published(self) -> None:
        """Take in what the published file has and this one lacks, so that no publish goes back in time."""
        for model in self._models:
            source = source_of(model)
            if source is None:
                self._refresher.refresh(model)  # next to nothing, unless what it reads has just been loaded
            elif model.table in self._updated:
                continue
            elif (missed := self._published.paths.get(model.table)) or not self._refresher.stands(model):
                files = self._landing.list_files(source.zone) if missed else []
                self._load(model, source, [file for file in files if file.path in (missed or ())])

    def _look_at_published(self) -> Ahead:
        if self._file.published is None:
            return Ahead()
        try:
            return ahead_of(self._file.connection, self._file.published)
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            return Ahead()  # readers get what this sync makes in its place

    def _build_missing(self, tables: Collection[str]) -> None:
        for model in self._models:
            if model.table in tables and not self._refresher.stands(model):
                self.update(model)

    def _load(self, model: Model, source: Source, files: Sequence[LandedFile]) -> TableUpdate:
        if not files and self._refresher.stands(model):
            return self._report(model, self._refresher.refresh(model))
        total = TableUpdate()
        for group in chunks_of(files, size_bytes=_CHUNK_BYTES, file_count=_CHUNK_FILES):
            total += self._load_group(model, source, group)
        return total

    def _load_group(self, model: Model, source: Source, files: Sequence[LandedFile]) -> TableUpdate:
        chunk = read_chunk(source, self._landing, files)
        self._file.connection.register(source.relation, chunk.rows)
        try:
            # An unreadable file stays out of the ledger, so it loads by itself once it can be read.
            refreshed = self._refresher.load(model, [(file.path, file.rows_read) for file in chunk.files])
        finally:
            self._file.connection.unregister(source.relation)
        known = self._known_paths.get(model.table, frozenset())
        new = [file for file in chunk.files if file.path not in known]
        return self._report(model, refreshed, new, chunk.unreadable)

    def _report(
        self,
        model: Model,
        refreshed: Refreshed,
        files: Sequence[FileCount] = (),
        unreadable: dict[str, str] | None = None,
    ) -> TableUpdate:
        before = self._row_counts.get(model.table, 0)
        self._row_counts[model.table] = refreshed.row_count
        return TableUpdate(
            rows_added=refreshed.row_count - before,
            row_count=refreshed.row_count,
            has_changed=bool(refreshed.rows_added or refreshed.rows_replaced),
            files_read=len(files),
            rows_read=sum(file.rows_read for file in files),
            rows_taken=sum(file.rows_taken for file in files),
            unreadable=unreadable or {},
        )


@contextmanager
def open_session(folder: DataFolder, *, is_full_refresh: bool = False) -> Iterator[Session]:
    """Take the writer's place and open the file whose turn it is.

    Args:
        folder: What to read and to write.
        is_full_refresh: Whether every table is to be built from landing again.

    Raises:
        WarehouseBusyError: Another process is writing the warehouse.
    """
    with folder.warehouse.write() as file:
        session = Session(file, folder.landing, folder.sql_dir)
        if is_full_refresh:
            session.reset()
        yield session
