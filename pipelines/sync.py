"""A sync: what landed since the last one, brought into every table, then shown to readers.

The order of things on one warehouse file belongs here, and reading landed files for it. How one table
is refreshed does not (`pipelines.runner`), nor which file is written (`pipelines.warehouse`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from connector.event import reread
from connector.landing import CALLS_ZONE, EVENTS_ZONE, PCA_ZONE, LandedFile, Landing
from connector.schemas import ANSWER_SCHEMA, EVENT_SCHEMA
from pipelines.models import Model, load_checks, load_models, read_query
from pipelines.runner import Outcome, Runner
from pipelines.warehouse import Warehouse, WarehouseFile

# Bounds the memory of a load: landed files hold about five times their size in raw bytes.
_CHUNK_BYTES = 32 * 1024 * 1024
_CHUNK_FILES = 2_000


@dataclass(frozen=True)
class Source:
    """A zone of landing as the relation that models load from."""

    relation: str
    zone: str
    schema: pa.Schema
    description: str


SOURCES = (
    Source("landed_events", EVENTS_ZONE, EVENT_SCHEMA, "Webhook deliveries as the receiver stored them."),
    Source("landed_pca", PCA_ZONE, ANSWER_SCHEMA, "Attempts to fetch PCA, with their raw answers."),
    Source("landed_calls", CALLS_ZONE, ANSWER_SCHEMA, "Attempts to fetch call details, with their answers."),
)


@dataclass(frozen=True)
class Update:
    """What an update did to one table, and what it read. `unreadable` maps a landed file to the reason."""

    outcome: Outcome
    files_read: int = 0
    rows_read: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


class Sync:
    """One writer's work on the warehouse file whose turn it is."""

    def __init__(self, file: WarehouseFile, landing: Landing, folder: Path) -> None:
        models = load_models(folder)
        self._file = file
        self._landing = landing
        self._folder = folder
        self._models = [model for model in models if not model.is_view]
        self._sources = {model.table: source_of(model, models) for model in self._models}
        self._runner = Runner(file.connection, models, load_checks(folder))

    def update(self, model: Model) -> Update:
        """Bring one table up to date with what it reads; landing itself is read if that is its source.

        Raises:
            AuditError: A blocking check failed; the table is as it was.
        """
        source = self._sources[model.table]
        if source is None:
            return Update(self._runner.refresh(model))
        known = self._runner.ledger.loaded_paths(model)
        files = [file for file in self._landing.list_files(source.zone) if file.path not in known]
        if not files and self._runner.stands(model):
            return Update(self._runner.refresh(model))
        return self._load(model, source, files)

    def publish(self, published_at: datetime) -> None:
        """Show this file's tables to readers, dated `published_at`; the sync is over then."""
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
        behind = False
        for model in self._models:
            source = self._sources[model.table]
            missing = published.get(model.table, set()) - self._runner.ledger.loaded_paths(model)
            if source is not None and missing:
                files = [file for file in self._landing.list_files(source.zone) if file.path in missing]
                self._load(model, source, files)
                behind = True
        if behind:
            for model in self._models:
                if self._sources[model.table] is None:
                    self._runner.refresh(model)

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

    def _load(self, model: Model, source: Source, files: Sequence[LandedFile]) -> Update:
        total = Update(Outcome(0, 0, 0))
        for chunk in _chunks(files):
            total = _add(total, self._load_chunk(model, source, chunk))
        return total

    def _load_chunk(self, model: Model, source: Source, files: Sequence[LandedFile]) -> Update:
        tables: list[pa.Table] = []
        counts: list[tuple[str, int]] = []
        unreadable: dict[str, str] = {}
        for file in files:
            try:
                table = self._landing.read(file, source.schema)
            except (pa.ArrowInvalid, FileNotFoundError) as error:
                # It stays out of the ledger, so it loads by itself once it can be read.
                unreadable[file.path] = str(error)
                continue
            tables.append(table)
            counts.append((file.path, table.num_rows))
        rows = pa.concat_tables(tables) if tables else source.schema.empty_table()
        if source.schema is EVENT_SCHEMA:
            rows = reread(rows)
        connection = self._file.connection
        connection.register(source.relation, rows)
        try:
            outcome = self._runner.load(model, counts)
        finally:
            connection.unregister(source.relation)
        return Update(outcome, len(tables), rows.num_rows, unreadable)


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


def source_of(model: Model, models: Iterable[Model]) -> Source | None:
    """The zone of landing that `model` loads from, directly or through a view; None if it reads tables."""
    views = {other.table: other for other in models if other.is_view}
    for name in model.upstream:
        for source in SOURCES:
            if name == source.relation:
                return source
        if name in views:
            return source_of(views[name], views.values())
    return None


def _chunks(files: Sequence[LandedFile]) -> Iterator[list[LandedFile]]:
    """Files in groups of bounded size; one empty group if there are none, so that the table comes to be."""
    chunk: list[LandedFile] = []
    size_bytes = 0
    for file in files:
        if chunk and (size_bytes + file.size_bytes > _CHUNK_BYTES or len(chunk) >= _CHUNK_FILES):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(file)
        size_bytes += file.size_bytes
    yield chunk


def _add(total: Update, more: Update) -> Update:
    outcome = replace(
        more.outcome,
        rows_added=total.outcome.rows_added + more.outcome.rows_added,
        rows_replaced=total.outcome.rows_replaced + more.outcome.rows_replaced,
    )
    return Update(
        outcome,
        total.files_read + more.files_read,
        total.rows_read + more.rows_read,
        total.unreadable | more.unreadable,
    )
