"""The loads of one warehouse file: which landed files a table takes in, and in which portions.

That nothing which readers have seen gets lost belongs here. How loaded rows become the rows of a table does
not: see `pipelines.warehouse.refresh`.
"""

from collections.abc import Collection, Sequence

import duckdb

from connector.landing.files import LandedFile, Landing
from pipelines.models.model import Model
from pipelines.warehouse.intake import MissingFilesError, find_new_files
from pipelines.warehouse.ledger import Ahead
from pipelines.warehouse.memory import chunk_size_bytes
from pipelines.warehouse.refresh import Refreshed, Refresher
from pipelines.warehouse.sources import Chunk, FileCount, Source, chunks_of, read_chunk, source_of
from pipelines.warehouse.update import TableUpdate

_PORTION_FILES = 2_000


class Loader:
    """The loads of one open warehouse file, measured against the published one."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        landing: Landing,
        refresher: Refresher,
        published: Ahead,
        *,
        is_full_refresh: bool,
        is_loss_known: bool,
    ) -> None:
        self._connection = connection
        self._landing = landing
        self._refresher = refresher
        self._published = published
        # What a refresh builds is all news, as after a first sync.
        self._row_counts = {} if is_full_refresh else dict(published.row_counts)
        self._known_paths = {} if is_full_refresh else published.paths
        self._is_loss_known = is_loss_known

    def update(self, model: Model) -> TableUpdate:
        """Bring a table up to date with what it reads: other tables, or landing.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
            MissingFilesError: Landing lacks files that tables were loaded from; the table is as it was.
        """
        source = source_of(model)
        if source is None:
            return self._report(model, self._refresher.refresh(model))
        found = find_new_files(self._connection, self._landing, source.zone, [model.table])
        ahead = self._published.paths.get(model.table, frozenset())
        self._check_missing({*found.missing, *(ahead - {file.path for file in found.files})})
        update = self._load(model, source, found.files)
        if marks := found.marks_without(update.unreadable):
            self._refresher.ledger.add_days(model, marks)
        return update

    def load_missed(self, model: Model, source: Source) -> None:
        """Load what the published file has loaded and this one has not.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
            MissingFilesError: Landing lacks files that tables were loaded from; the table is as it was.
        """
        missed = self._published.paths.get(model.table, frozenset())
        found = find_new_files(self._connection, self._landing, source.zone, [model.table])
        files = [file for file in found.files if file.path in missed]
        self._check_missing({*found.missing, *(missed - {file.path for file in files})})
        if files or not self._refresher.stands(model):
            self._load(model, source, files)

    def _check_missing(self, paths: Collection[str]) -> None:
        if paths and not self._is_loss_known:
            raise MissingFilesError(self._landing, sorted(paths))

    def _load(self, model: Model, source: Source, files: Sequence[LandedFile]) -> TableUpdate:
        if not files and self._refresher.stands(model):
            return self._report(model, self._refresher.refresh(model))
        total = TableUpdate()
        size_bytes = chunk_size_bytes(self._connection)
        for group in chunks_of(files, size_bytes=size_bytes, file_count=_PORTION_FILES):
            total += self._load_group(model, source, group)
        return total

    def _load_group(self, model: Model, source: Source, files: Sequence[LandedFile]) -> TableUpdate:
        chunk = read_chunk(source, self._landing, files)
        # What readers have already seen must not disappear because it can't be read today.
        self._check_missing(chunk.unreadable.keys() & self._published.paths.get(model.table, frozenset()))
        self._connection.register(source.relation, chunk.rows)
        try:
            # An unreadable file is not recorded as loaded, so a later load tries it again.
            loaded = [(file.path, file.rows_read) for file in chunk.files]
            refreshed = self._refresher.load(model, [*loaded, *((path, None) for path in chunk.passed_over)])
        finally:
            self._connection.unregister(source.relation)
        known = self._known_paths.get(model.table, frozenset())
        new = [file for file in chunk.files if file.path not in known]
        return self._report(model, refreshed, new, chunk)

    def _report(
        self,
        model: Model,
        refreshed: Refreshed,
        files: Sequence[FileCount] = (),
        chunk: Chunk | None = None,
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
            unreadable=chunk.unreadable if chunk else {},
            passed_over=chunk.passed_over if chunk else {},
        )
