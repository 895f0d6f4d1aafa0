"""The landing zone: raw rows as zstd Parquet, partitioned by UTC date; the record of truth.

Naming, listing and reading landed files belong here, and which rows go into which file, the same for a local
folder and for `s3://`. How one file is written is `connector.landing.writer`'s. What the rows mean does not
belong here. A file appears whole or not at all, and is never edited.

Layout: webhook deliveries in `date=YYYY-MM-DD/`, fetched answers in `<zone>/date=YYYY-MM-DD/`.

`connector.landing.compaction` merges small files. Readers need not know: a file that was merged is listed and
read under its own path as before, only its rows lie in a merged file now, which says in its metadata
which rows were whose.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from connector.landing.merged import MergedFiles, Part, is_merged
from connector.landing.writer import FileWriter
from connector.landing.zones import Zone


@dataclass(frozen=True, order=True)
class LandedFile:
    """One landed file; `path` is relative to the landing root and is its identity."""

    path: str
    size_bytes: int
    merged: Part | None = field(default=None, compare=False)
    """Where its rows lie, if it has been merged with others."""


class Landing:
    """A landing zone in a local folder or under an `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self.url = url
        if "://" in url:
            self._fs, self._root = fs.FileSystem.from_uri(url)
        else:
            self._fs, self._root = fs.LocalFileSystem(), str(Path(url).absolute())
        self._merged = MergedFiles(self._fs, self._root)
        self._writer = FileWriter(self._fs, self._root)

    def write(self, table: pa.Table, *, zone: Zone, name: str) -> list[LandedFile]:
        """Land `table` as `name`.parquet, one file for each UTC date found in the zone's time column.

        Durable and visible when it returns. Writing the same rows under the same name again gives the
        same files, so a writer that was killed may simply repeat itself.

        Raises:
            OSError: The store can't take the file; nothing half-written is visible.
        """
        return self.write_batches(table.to_batches(), zone=zone, name=name)

    def write_batches(self, batches: Iterable[pa.RecordBatch], *, zone: Zone, name: str) -> list[LandedFile]:
        """Like `write`, for more rows than should be in memory at once; each batch is a row group.

        Raises:
            OSError: The store can't take the files; nothing half-written is visible.
        """
        asides: dict[str, pq.ParquetWriter] = {}
        with ExitStack() as closing:
            for batch in batches:
                for day, part in _split_by_date(batch, zone.time_column):
                    path = _in_zone(zone, f"date={day.isoformat()}/{name}.parquet")
                    if path not in asides:
                        asides[path] = closing.enter_context(self._writer.open_aside(path, batch.schema))
                    asides[path].write_batch(part)
        return [LandedFile(path, self._writer.show(path)) for path in asides]

    def write_file(
        self,
        path: str,
        row_groups: Iterable[pa.Table],
        schema: pa.Schema,
        metadata: Callable[[], dict[str, str]],
    ) -> LandedFile:
        """Land one file under a path of the caller's choice, its metadata asked for once all rows are in.

        Raises:
            OSError: The store can't take the file; nothing half-written is visible.
        """
        with self._writer.open_aside(path, schema) as writer:
            for rows in row_groups:
                writer.write_table(rows, row_group_size=max(1, rows.num_rows))
            writer.add_key_value_metadata(metadata())
        return LandedFile(path, self._writer.show(path))

    def list_files(self, zone: Zone) -> list[LandedFile]:
        """All landed files of a zone, sorted by path, each under the path that it was landed by."""
        return sorted(file for day in self.list_days(zone) for file in self._list_day(day))

    def list_days(self, zone: Zone) -> list[str]:
        """The folders of a zone that hold a day each, relative to the landing root, oldest first."""
        root = f"{self._root}/{zone.folder}" if zone.folder else self._root
        infos = self._fs.get_file_info(fs.FileSelector(root, allow_not_found=True))
        names = [info.base_name for info in infos if info.type == fs.FileType.Directory]
        return sorted(_in_zone(zone, name) for name in names if name.startswith("date="))

    def list_day(self, day: str) -> list[LandedFile]:
        """The landed files of one day's folder, sorted by path, each under the path it was landed by."""
        return sorted(self._list_day(day))

    def list_stored(self, day: str) -> list[LandedFile]:
        """The files that are there in a day's folder, merged ones among them, sorted by path."""
        infos = self._fs.get_file_info(fs.FileSelector(f"{self._root}/{day}", allow_not_found=True))
        return sorted(
            LandedFile(f"{day}/{info.base_name}", info.size)
            for info in infos
            if info.type == fs.FileType.File and info.base_name.endswith(".parquet")
        )

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
        table = self._read(file, schema.names, where)
        missing = set(schema.names) - set(table.schema.names)
        if missing:
            raise pa.ArrowInvalid(f"{file.path} lacks the columns {sorted(missing)}")
        return table.select(schema.names).cast(schema)

    def remove(self, file: LandedFile) -> None:
        """Delete a stored file, which only who has merged it may do.

        Raises:
            OSError: The store can't delete it.
        """
        self._fs.delete_file(f"{self._root}/{file.path}")

    def parts_of(self, file: LandedFile) -> list[LandedFile]:
        """The files that a stored file was merged from; empty if it wasn't.

        Raises:
            OSError: It can't be read.
        """
        if not is_merged(file.path):
            return []
        parts = self._merged.parts(file.path)
        return [LandedFile(part.path, part.size_bytes, merged=part) for part in parts]

    def _list_day(self, day: str) -> Iterable[LandedFile]:
        stored = self.list_stored(day)
        files = {file.path: file for file in stored if not is_merged(file.path)}
        # A file that is there beside the one it was merged into is listed once: its removal is under way.
        files |= {part.path: part for file in stored for part in self.parts_of(file)}
        return files.values()

    def _read(self, file: LandedFile, columns: list[str], where: pc.Expression | None) -> pa.Table:
        if file.merged is None:
            try:
                with self._fs.open_input_file(f"{self._root}/{file.path}") as source:
                    return _read_parquet(source, columns, where)
            except FileNotFoundError:
                # It may have been merged since it was listed.
                day = file.path.rpartition("/")[0]
                file = next((other for other in self._list_day(day) if other == file), file)
                if file.merged is None:
                    raise
        if where is None:
            return self._merged.read(file.merged, columns)
        return self._merged.read(file.merged, None).filter(where)


def _read_parquet(source: pa.NativeFile, columns: list[str], where: pc.Expression | None) -> pa.Table:
    file = pq.ParquetFile(source, pre_buffer=True)
    there = [name for name in columns if name in file.schema_arrow.names]
    if where is not None:
        return pq.read_table(source, columns=there, filters=where)
    # `read_table` would put the table together from many small pieces, in up to four times the time.
    return file.read(columns=there, use_threads=False)


def _in_zone(zone: Zone, path: str) -> str:
    return f"{zone.folder}/{path}" if zone.folder else path


def _split_by_date(batch: pa.RecordBatch, time_column: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    days = pc.cast(pc.floor_temporal(batch[time_column], unit="day"), pa.timestamp("us", tz="UTC"))
    found = sorted(pc.unique(days).to_pylist())
    for day in found:
        assert isinstance(day, datetime)  # noqa: S101 - a null time can't be in a landed schema
        # Mostly there is one, and choosing would copy every body.
        is_all = len(found) == 1
        yield day.date(), batch if is_all else batch.filter(pc.equal(days, pa.scalar(day, days.type)))
