"""A sync: what landed since the last one, brought into every table, then shown to readers.

The order of things on one warehouse file belongs here. How one table is refreshed does not
(`pipelines.runner`), nor which file is written (`pipelines.warehouse`).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from connector.landing import LandedFile, Landing
from pipelines.facts import TableFacts, look_up
from pipelines.models import Model, load_checks, load_models, read_query
from pipelines.runner import Outcome, Runner
from pipelines.sources import Source, chunks_of, read_chunk, source_of
from pipelines.warehouse import Warehouse, WarehouseFile

# Bounds the memory of a load: landed files hold about five times their size in raw bytes.
_CHUNK_BYTES = 64 * 1024 * 1024
_CHUNK_FILES = 2_000


@dataclass(frozen=True)
class Update:
    """What an update did to one table, and what it read.

    `rows_read` counts the rows of the landed files, `rows_taken` those of them that are this table's;
    `unreadable` maps a landed file that was set aside to the reason.
    """

    outcome: Outcome
    files_read: int = 0
    rows_read: int = 0
    rows_taken: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


class Sync:
    """One writer's work on the warehouse file whose turn it is."""

    def __init__(self, file: WarehouseFile, landing: Landing, folder: Path) -> None:
        self._file = file
        self._landing = landing
        self._folder = folder
        self._models = load_models(folder)
        self._runner = Runner(file.connection, self._models, load_checks(folder))

    def update(self, model: Model) -> Update:
        """Bring one table up to date with what it reads; landing itself is read if that is its source.

        A table that it reads and that is not there, as when its SQL changed, is built first.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
        """
        self._build_missing(model.upstream)
        source = source_of(model)
        if source is None:
            return Update(self._runner.refresh(model))
        known = self._runner.ledger.loaded_paths(model)
        files = [file for file in self._landing.list_files(source.zone) if file.path not in known]
        if not files and self._runner.stands(model):
            return Update(self._runner.refresh(model))
        return self._load(self._runner, model, source, files)

    def facts(self, model: Model, as_of: datetime) -> TableFacts:
        """What the table of `model` tells of itself as of `as_of`."""
        return look_up(self._file.connection, model, self._models, as_of)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models in the order in which they are brought up to date."""
        return self._models

    def publish(self, published_at: datetime) -> None:
        """Show this file's tables to readers, dated `published_at`; the sync is over then.

        Raises:
            AuditError: A table that was not there yet could not be built; nothing is shown.
        """
        self._build_missing({model.table for model in self._models})
        status = read_query(self._folder, "pipeline_status")
        self._file.connection.execute(
            f"create or replace table pipeline_status as {status}",
            {"published_at": published_at.astimezone(UTC).replace(tzinfo=None)},
        )
        self._file.publish()

    def reset(self) -> None:
        """Forget every table, so that the updates that follow build all of them from landing."""
        self._runner.reset(self._models)

    def follow_published(self) -> None:
        """Take in what the published file has and this one lacks, so that no publish goes back in time."""
        if self._file.published is None:
            return
        published = self._published_paths()
        # What is repeated here was checked before it was published.
        repeater = Runner(self._file.connection, self._models)
        is_behind = False
        for model in self._models:
            source = source_of(model)
            missing = published.get(model.table, set()) - repeater.ledger.loaded_paths(model)
            if source is not None and (missing or not repeater.stands(model)):
                files = [file for file in self._landing.list_files(source.zone) if file.path in missing]
                self._load(repeater, model, source, files)
                is_behind = True
        if is_behind:
            for model in self._models:
                if source_of(model) is None:
                    repeater.refresh(model)

    def _build_missing(self, tables: Collection[str]) -> None:
        for model in self._models:
            if model.table in tables and not self._runner.stands(model):
                self.update(model)

    def _published_paths(self) -> dict[str, set[str]]:
        sql = self._file.connection
        sql.execute(f"attach '{self._file.published}' as published (read_only)")
        try:
            rows = sql.execute("select model, path from published.ops.loads").fetchall()
        finally:
            sql.execute("detach published")
        paths: dict[str, set[str]] = {}
        for table, path in rows:
            paths.setdefault(table, set()).add(path)
        return paths

    def _load(self, runner: Runner, model: Model, source: Source, files: Sequence[LandedFile]) -> Update:
        total = Update(Outcome(0, 0, 0))
        for group in chunks_of(files, size_bytes=_CHUNK_BYTES, file_count=_CHUNK_FILES):
            total = add_updates(total, self._load_group(runner, model, source, group))
        return total

    def _load_group(
        self, runner: Runner, model: Model, source: Source, files: Sequence[LandedFile]
    ) -> Update:
        chunk = read_chunk(source, self._landing, files)
        self._file.connection.register(source.relation, chunk.rows)
        try:
            # An unreadable file stays out of the ledger, so it loads by itself once it can be read.
            outcome = runner.load(model, chunk.counts)
        finally:
            self._file.connection.unregister(source.relation)
        rows_read = sum(row_count for _, row_count in chunk.counts)
        return Update(outcome, len(chunk.counts), rows_read, chunk.rows.num_rows, chunk.unreadable)


@contextmanager
def open_sync(
    warehouse: Warehouse, landing: Landing, folder: Path, *, is_full_refresh: bool = False
) -> Iterator[Sync]:
    """Take the writer's place and open the file whose turn it is, level with the published one.

    Args:
        warehouse: Where to write.
        landing: What to read.
        folder: The SQL.
        is_full_refresh: Whether every table is to be built anew from landing instead.

    Raises:
        WarehouseBusyError: Another process is writing the warehouse.
    """
    with warehouse.write() as file:
        sync = Sync(file, landing, folder)
        if is_full_refresh:
            sync.reset()
        else:
            sync.follow_published()
        yield sync


def add_updates(total: Update, more: Update) -> Update:
    """Two updates of one table as one; what was found is what the later found."""
    outcome = replace(
        more.outcome,
        rows_added=total.outcome.rows_added + more.outcome.rows_added,
        rows_replaced=total.outcome.rows_replaced + more.outcome.rows_replaced,
    )
    return Update(
        outcome,
        total.files_read + more.files_read,
        total.rows_read + more.rows_read,
        total.rows_taken + more.rows_taken,
        total.unreadable | more.unreadable,
    )
