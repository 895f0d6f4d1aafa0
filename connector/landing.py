"""The landing zone: raw rows as zstd Parquet, partitioned by UTC date; the record of truth.

Naming, listing, reading and writing landed files belong here, the same for a local folder and for
`s3://`. What the rows mean does not. A file appears whole or not at all, and is never edited.

Layout: webhook deliveries in `date=YYYY-MM-DD/`, fetched answers in `<zone>/date=YYYY-MM-DD/`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

EVENTS_ZONE = ""
PCA_ZONE = "pca"
CALLS_ZONE = "calls"
LISTED_ZONE = "listed"
AGENTS_ZONE = "agents"


@dataclass(frozen=True, order=True)
class LandedFile:
    """One landed file; `path` is relative to the landing root and is its identity."""

    path: str
    size_bytes: int


class Landing:
    """A landing zone in a local folder or under an `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self.url = url
        if "://" in url:
            self._fs, self._root = fs.FileSystem.from_uri(url)
        else:
            self._fs, self._root = fs.LocalFileSystem(), str(Path(url).absolute())

    def write(self, table: pa.Table, *, zone: str, name: str, time_column: str) -> list[LandedFile]:
        """Land `table` as `name`.parquet, one file for each UTC date found in `time_column`.

        Durable and visible when it returns. Writing the same rows under the same name again gives the
        same files, so a writer that was killed may simply repeat itself.

        Raises:
            OSError: The store can't take the file; nothing half-written is visible.
        """
        return self.write_batches(table.to_batches(), zone=zone, name=name, time_column=time_column)

    def write_batches(
        self, batches: Iterable[pa.RecordBatch], *, zone: str, name: str, time_column: str
    ) -> list[LandedFile]:
        """Like `write`, for more rows than should be in memory at once; each batch is a row group.

        Raises:
            OSError: The store can't take the files; nothing half-written is visible.
        """
        asides: dict[str, pq.ParquetWriter] = {}
        with ExitStack() as closing:
            for batch in batches:
                for day, part in _split_by_date(batch, time_column):
                    path = f"{_prefix(zone)}date={day.isoformat()}/{name}.parquet"
                    if path not in asides:
                        asides[path] = closing.enter_context(self._open_aside(path, batch.schema))
                    asides[path].write_batch(part)
        return [self._show(path) for path in asides]

    def list_files(self, zone: str) -> list[LandedFile]:
        """All landed files of a zone, sorted by path."""
        root = f"{self._root}/{zone}" if zone else self._root
        days = self._fs.get_file_info(fs.FileSelector(root, allow_not_found=True))
        found: list[LandedFile] = []
        for day in days:
            if day.type == fs.FileType.Directory and day.base_name.startswith("date="):
                found.extend(self._list_day(day.path))
        return sorted(found)

    def read(self, file: LandedFile, schema: pa.Schema, *, where: pc.Expression | None = None) -> pa.Table:
        """One landed file as a table of `schema`, which may name some of its columns only.

        Args:
            file: What to read.
            schema: The columns wanted, with their types; no others are read.
            where: Which rows; row groups that can't hold any are skipped.

        Raises:
            FileNotFoundError: It is gone.
            pa.ArrowInvalid: It is no Parquet file, is cut short, or lacks a column of `schema`.
        """
        with self._fs.open_input_file(f"{self._root}/{file.path}") as source:
            table = pq.read_table(source, columns=schema.names, filters=where)
        missing = set(schema.names) - set(table.schema.names)
        if missing:
            raise pa.ArrowInvalid(f"{file.path} lacks the columns {sorted(missing)}")
        return table.select(schema.names).cast(schema)

    def _list_day(self, path: str) -> Iterator[LandedFile]:
        for info in self._fs.get_file_info(fs.FileSelector(path)):
            if info.type == fs.FileType.File and info.base_name.endswith(".parquet"):
                yield LandedFile(info.path.removeprefix(self._root).lstrip("/"), info.size)

    def _open_aside(self, path: str, schema: pa.Schema) -> pq.ParquetWriter:
        aside = self._aside(path)
        if self._is_local:
            Path(aside).parent.mkdir(parents=True, exist_ok=True)
        return pq.ParquetWriter(aside, schema, filesystem=self._fs, compression="zstd", compression_level=1)

    def _show(self, path: str) -> LandedFile:
        # An object store needs the detour as well: an upload that breaks off half way can still be
        # completed, as a shorter object, when its stream is closed.
        aside, target = self._aside(path), f"{self._root}/{path}"
        if self._is_local:
            _sync(Path(aside))
        self._fs.move(aside, target)
        if self._is_local:
            for folder in (Path(target).parent, Path(target).parent.parent):
                _sync(folder)
        return LandedFile(path, self._fs.get_file_info(target).size)

    def _aside(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        return f"{self._root}/{folder}/.{name}.tmp"

    @property
    def _is_local(self) -> bool:
        return isinstance(self._fs, fs.LocalFileSystem)


def _prefix(zone: str) -> str:
    return f"{zone}/" if zone else ""


def _split_by_date(batch: pa.RecordBatch, time_column: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    days = pc.cast(pc.floor_temporal(batch[time_column], unit="day"), pa.timestamp("us", tz="UTC"))
    for day in sorted(pc.unique(days).to_pylist()):
        assert isinstance(day, datetime)  # noqa: S101 - a null time can't be in a landed schema
        yield day.date(), batch.filter(pc.equal(days, pa.scalar(day, days.type)))


def _sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
