"""One export: every table of a target is brought to what is published now.

The order of the steps belongs here. How a target writes does not: see `pipelines.exports.target`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.exports.change import Source, open_source
from pipelines.exports.target import Difference, Target, Written
from pipelines.exports.targets import open_target
from pipelines.warehouse.changes import Publish
from pipelines.warehouse.data_folder import DataFolder


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        publish: The publish at which the target stands.
        tables: What was written, by table; tables that had not changed are left out.
        compared_whole: The tables of which all rows were compared.
        duration_s: How long it took.
    """

    publish: Publish
    tables: Mapping[str, Written]
    compared_whole: tuple[str, ...]
    duration_s: float

    @property
    def rows_written(self) -> int:
        """The rows written to all tables."""
        return sum(written.rows_written for written in self.tables.values())

    @property
    def rows_deleted(self) -> int:
        """The rows deleted from all tables."""
        return sum(written.rows_deleted for written in self.tables.values())


def export(
    folder: DataFolder,
    url: str,
    *,
    tables: Sequence[str] = (),
    is_full_refresh: bool = False,
    wait_s: float = 0.0,
) -> Exported:
    """Bring the tables of a target to what is published, or those named.

    Args:
        folder: The published tables.
        url: The target.
        tables: The names of the tables; empty for all.
        is_full_refresh: Whether to compare whole tables, so that also what was changed there is put right.
        wait_s: How long to wait for another process that exports to the same target.

    Raises:
        NothingPublishedError, OutdatedTablesError, UnknownTablesError: There is nothing to export.
        TargetError: The target can't be reached or written. It is as it was.
    """
    with open_target(url, wait_s=wait_s) as target, open_source(folder) as source:
        return bring(target, source, tables=tables, is_full_refresh=is_full_refresh)


def bring(
    target: Target, source: Source, *, tables: Sequence[str] = (), is_full_refresh: bool = False
) -> Exported:
    """Bring an open target to what is published."""
    started_s = time.monotonic()
    listed = source.list_tables(tables)
    standing = target.standing(listed)
    written: dict[str, Written] = {}
    whole: list[str] = []
    for table in listed:
        since = None if is_full_refresh else standing.get(table.name)
        if since == source.publish.id:
            continue
        change = source.find_change(table, since)
        if change is None:
            target.stay(table.name, source.publish.id)
            continue
        written[table.name] = target.write(change, source.publish.id)
        if change.is_whole:
            whole.append(table.name)
    target.finish(source)
    return Exported(source.publish, written, tuple(whole), time.monotonic() - started_s)


@dataclass(frozen=True)
class Standing:
    """How far a target is.

    Attributes:
        tables: How many tables it has a copy of.
        publish: The publish at which its oldest copy stands. None if it has none, or if that is of another
            warehouse or older than the log: the next export compares that table as a whole.
        newest: What is published now.
    """

    tables: int
    publish: Publish | None
    newest: Publish

    @property
    def publishes_behind(self) -> int | None:
        """The publishes that are not exported yet."""
        return None if self.publish is None else self.newest.number - self.publish.number

    @property
    def lag_s(self) -> float | None:
        """The time from the oldest copy's publish to the newest [s]."""
        if self.publish is None:
            return None
        lag_s = (self.newest.published_at - self.publish.published_at).total_seconds()
        return max(0.0, lag_s)  # a clock may go back


def find_standing(folder: DataFolder, url: str, *, wait_s: float = 0.0) -> Standing:
    """Return how far a target is.

    Raises:
        NothingPublishedError, OutdatedTablesError: There is nothing to compare with.
        TargetError: The target can't be reached.
    """
    with open_target(url, wait_s=wait_s) as target, open_source(folder) as source:
        tables = source.list_tables()
        names = {table.name for table in tables}  # one whose SQL is gone is not exported any more
        ids = [each for table, each in target.standing(tables).items() if table in names]
        known = [source.find_publish(each) for each in set(ids)]
        oldest = min((each for each in known if each), key=lambda each: each.number, default=None)
        return Standing(len(ids), None if None in known else oldest, source.publish)


def verify(
    folder: DataFolder, url: str, *, tables: Sequence[str] = (), sample: int = 5, wait_s: float = 0.0
) -> Iterator[Difference]:
    """Compare every row of a target with what is published, table by table.

    Raises:
        NothingPublishedError, OutdatedTablesError, UnknownTablesError: There is nothing to compare with.
        TargetError: The target can't be reached, or lacks a table.
    """
    with open_target(url, wait_s=wait_s) as target, open_source(folder) as source:
        for table in source.list_tables(tables):
            change = source.find_change(table, None)
            assert change is not None  # noqa: S101 - all rows count as changed
            yield target.compare(change, sample)
