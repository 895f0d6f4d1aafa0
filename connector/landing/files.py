"""Landing, the record of truth: raw rows as zstd Parquet, partitioned by UTC date.

Naming, listing and reading landed files belong here, and the choice of file for each row, both for a local
folder and for `s3://`. See `connector.landing.writer` for how one file is written. The meaning of the rows
does not belong here. A file becomes visible as a whole or not at all, and is never edited.

Layout: webhook deliveries in `date=YYYY-MM-DD/`, fetched answers in `<zone>/date=YYYY-MM-DD/`.

`connector.landing.compaction` merges small files. Readers need not know this: a file that was merged is still
listed and read under its own path. Its rows are then in a merged file, and the metadata of the merged file
says which rows belong to which path.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from connector.landing.merged import MergedFiles, Part, is_merged
from connector.landing.ownership import is_day
from connector.landing.writer import FileWriter
from connector.landing.zones import EVENTS, Zone

_TRIES = 5


@dataclass(frozen=True, order=True)
class LandedFile:
    """One landed file. `path` is relative to the landing root and identifies the file."""

    path: str
    size_bytes: int
    merged: Part | None = field(default=None, compare=False)
    """The place of its rows, if it has been merged with others."""


class NotRemovedError(OSError):
    """A store that does not let us delete a file whose rows are in a merged one."""


class Landing:
    """Landing in a local folder or under an `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self.url = url
        if "://" in url:
            self._fs, self._root = fs.FileSystem.from_uri(url)
        else:
            self._fs, self._root = fs.LocalFileSystem(), str(Path(url).absolute())
        self.is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._merged = MergedFiles(self._fs, self._root)
        self._writer = FileWriter(self._fs, self._root)

    def write(self, table: pa.Table, *, zone: Zone, name: str) -> list[LandedFile]:
        """Land `table` as `name`.parquet, one file for each UTC date found in the zone's time column.

        The files are durable and visible when this returns. Writing the same rows under the same name again
        gives the same files, so a writer that was killed can simply repeat its work.

        Raises:
            OSError: The store can't store the file. No half-written file is visible.
        """
        return self.write_batches(table.to_batches(), zone=zone, name=name)

    def write_batches(self, batches: Iterable[pa.RecordBatch], *, zone: Zone, name: str) -> list[LandedFile]:
        """Land batches as `write` does, for more rows than fit in memory. Each batch is a row group.

        Raises:
            OSError: The store can't store the files. No half-written file is visible.
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
        """Land one file under a given path. `metadata` is called once all rows are written.

        Raises:
            OSError: The store can't store the file. No half-written file is visible.
        """
        with self._writer.open_aside(path, schema) as writer:
            for rows in row_groups:
                writer.write_table(rows, row_group_size=max(1, rows.num_rows))
            writer.add_key_value_metadata(metadata())
        return LandedFile(path, self._writer.show(path))

    def list_files(self, zone: Zone) -> list[LandedFile]:
        """Return all landed files of a zone, sorted by path, each under its original path."""
        return sorted(file for day in self.list_days(zone) for file in self.list_day(day))

    def list_days(self, zone: Zone) -> list[str]:
        """Return the day folders of a zone, relative to the landing root, oldest first."""
        return [folder for folder in self._list_folders(zone) if is_day(_name_of(folder))]

    def list_copied_days(self, zone: Zone) -> list[str]:
        """Return the folders of a zone named almost like a day, such as copies of one. Nothing reads them."""
        return [folder for folder in self._list_folders(zone) if not is_day(_name_of(folder))]

    def list_day(self, day: str) -> list[LandedFile]:
        """Return the landed files of one day folder, sorted by path, each under its original path."""
        return sorted(self.expand(lambda: self.list_day_stored(day)))

    def list_stored(self, zones: Collection[Zone]) -> dict[str, list[LandedFile]]:
        """Return the files that exist in each day folder of some zones, as `list_day_stored` does.

        In a bucket, this asks once for each 1,000 objects that are in landing, and not once for each folder.
        """
        if self.is_local:
            return {day: self.list_day_stored(day) for zone in zones for day in self.list_days(zone)}
        root = self._root if EVENTS in zones else os.path.commonpath([self._path(zone) for zone in zones])
        infos = self._list(root, is_recursive=True)
        days: dict[str, list[LandedFile]] = {}
        folders = {zone.folder for zone in zones}
        for info in infos:
            path = info.path.removeprefix(f"{self._root}/")
            day = path.rpartition("/")[0]
            if day.rpartition("/")[0] in folders and is_day(_name_of(day)) and _is_landed(info):
                days.setdefault(day, []).append(LandedFile(path, info.size))
        return {day: sorted(files) for day, files in sorted(days.items())}

    def list_day_stored(self, day: str) -> list[LandedFile]:
        """Return the files that exist in a day folder, including merged ones, sorted by path."""
        infos = self._list(f"{self._root}/{day}")
        return sorted(LandedFile(f"{day}/{info.base_name}", info.size) for info in infos if _is_landed(info))

    def expand(self, list_stored: Callable[[], Iterable[LandedFile]]) -> list[LandedFile]:
        """Return what `list_stored` lists, with each merged file replaced by its parts.

        A merged file that can't be read stands for itself, so that reading it names it and gives the reason.
        `list_stored` is called again if a merged file is gone by then, because it was merged with others.
        """
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                stored = list(list_stored())
                files = {file.path: file for file in stored if not is_merged(file.path)}
                # A small file that still exists next to its merged file is listed once: it is being removed.
                for merged in (file for file in stored if is_merged(file.path)):
                    try:
                        files |= {part.path: part for part in self.parts_of(merged)}
                    except FileNotFoundError:
                        raise
                    except (pa.ArrowException, OSError):
                        files[merged.path] = merged
                return list(files.values())
        raise FileNotFoundError(f"{self.url}: files were merged again and again while they were listed")

    def paths_in(self, files: Iterable[LandedFile]) -> set[str]:
        """Return the paths of the files that stored files were merged from, as far as these can be read.

        Raises:
            FileNotFoundError: A file is gone, because it was merged with others.
        """
        paths: set[str] = set()
        for file in files:
            try:
                paths.update(part.path for part in self._merged.parts(file.path))
            except FileNotFoundError:
                raise
            except (pa.ArrowException, OSError):
                continue
        return paths

    def read(self, file: LandedFile, schema: pa.Schema, *, where: pc.Expression | None = None) -> pa.Table:
        """Return one landed file as a table of `schema`, which may name only some of its columns.

        Args:
            file: The file to read.
            schema: The columns to read, with their types. One that may be null is null in a file without it.
            where: The rows to return. Row groups that can't contain any are skipped.

        Raises:
            FileNotFoundError: The file does not exist.
            pa.ArrowInvalid: The file is not Parquet, is cut short, or lacks a column that may not be null.
        """
        return _fit(self._read(file, schema.names, where), file, schema)

    def read_merged(self, file: LandedFile, schema: pa.Schema) -> pa.Table:
        """Return the rows of a merged file's part as `read` does, but never from any other place.

        Raises:
            FileNotFoundError: The merged file does not exist.
            pa.ArrowInvalid: `file` is no part of a merged file, or it lacks a column of `schema`.
        """
        if file.merged is None:
            raise pa.ArrowInvalid(f"{file.path} is no part of a merged file")
        return _fit(self._merged.read(file.merged, schema.names), file, schema)

    def remove(self, file: LandedFile) -> None:
        """Delete a stored file, or the merged file that a part is in. For compaction only.

        Raises:
            FileNotFoundError: It does not exist.
            NotRemovedError: The store can't delete it.
        """
        path = file.merged.merged_path if file.merged else file.path
        try:
            self._fs.delete_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise NotRemovedError(
                f"{path} is merged with others and can't be deleted, so it is there twice and loaded once. "
                f"Allow deletions in {self.url} (for a bucket: s3:DeleteObject): {error}"
            ) from error

    def parts_of(self, file: LandedFile) -> list[LandedFile]:
        """Return the files that a stored file was merged from, or an empty list if it is not a merged file.

        Raises:
            OSError: The file can't be read.
        """
        if not is_merged(file.path):
            return []
        parts = self._merged.parts(file.path)
        return [LandedFile(part.path, part.size_bytes, merged=part) for part in parts]

    def _path(self, zone: Zone) -> str:
        return f"{self._root}/{zone.folder}" if zone.folder else self._root

    def _list_folders(self, zone: Zone) -> list[str]:
        infos = self._list(self._path(zone))
        names = [info.base_name for info in infos if info.type == fs.FileType.Directory]
        return sorted(_in_zone(zone, name) for name in names if name.startswith("date="))

    def _list(self, folder: str, *, is_recursive: bool = False) -> list[fs.FileInfo]:
        """List what is in a folder; nothing if it does not exist."""
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=is_recursive)
        try:
            return self._fs.get_file_info(selector)  # type: ignore[no-any-return]
        except FileNotFoundError:
            # Arrow opens the folder, and if that fails looks whether it exists: it was made in between.
            return self._fs.get_file_info(selector)  # type: ignore[no-any-return]

    def _read(self, file: LandedFile, columns: list[str], where: pc.Expression | None) -> pa.Table:
        try:
            return self._read_stored(file, columns, where)
        except FileNotFoundError:
            # It may have been merged after it was listed, or its merged file with others.
            day = file.path.rpartition("/")[0]
            place = next((other for other in self.list_day(day) if other == file), file)
            if place.merged == file.merged:
                raise
            return self._read_stored(place, columns, where)

    def _read_stored(self, file: LandedFile, columns: list[str], where: pc.Expression | None) -> pa.Table:
        if file.merged is None:
            with self._fs.open_input_file(f"{self._root}/{file.path}") as source:
                return _read_parquet(source, columns, where)
        if where is None:
            return self._merged.read(file.merged, columns)
        return self._merged.read(file.merged, None).filter(where)


def _fit(table: pa.Table, file: LandedFile, schema: pa.Schema) -> pa.Table:
    missing = [column for column in schema if column.name not in table.schema.names]
    if required := sorted(column.name for column in missing if not column.nullable):
        raise pa.ArrowInvalid(f"{file.path} lacks the columns {required}")
    for column in missing:  # files are never edited, so an older one has not every column of today
        table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    selected = table.select(schema.names)
    return (
        selected if selected.schema == schema else selected.cast(schema)
    )  # a cast takes half of a read's time


def _is_landed(info: fs.FileInfo) -> bool:
    return bool(info.type == fs.FileType.File and info.base_name.endswith(".parquet"))


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _read_parquet(source: pa.NativeFile, columns: list[str], where: pc.Expression | None) -> pa.Table:
    file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
    there = [name for name in columns if name in file.schema_arrow.names]
    if where is not None:
        return pq.read_table(source, columns=there, filters=where, page_checksum_verification=True)
    # `read_table` would build the table from many small pieces, which takes up to four times as long.
    return file.read(columns=there, use_threads=False)


def _in_zone(zone: Zone, path: str) -> str:
    return f"{zone.folder}/{path}" if zone.folder else path


def _split_by_date(batch: pa.RecordBatch, time_column: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    days = pc.cast(pc.floor_temporal(batch[time_column], unit="day"), pa.timestamp("us", tz="UTC"))
    found = sorted(pc.unique(days).to_pylist())
    for day in found:
        assert isinstance(day, datetime)  # noqa: S101 - a null time can't be in a landed schema
        # Most batches have one day, and filtering would copy every body.
        is_all = len(found) == 1
        yield day.date(), batch if is_all else batch.filter(pc.equal(days, pa.scalar(day, days.type)))
