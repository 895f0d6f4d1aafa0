"""One export: every table of a target is brought to what is published now.

The order of the steps belongs here. How a target writes does not: see `pipelines.exports.target`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.exports.change import STATUS, Source, open_source
from pipelines.exports.target import Difference, Written
from pipelines.exports.targets import open_target
from pipelines.warehouse.change_log import Publish
from pipelines.warehouse.data_folder import DataFolder


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        publish: The publish at which the target stands.
        published_at: When it was published, UTC.
        tables: What was written, by table; tables that had not changed are left out.
        compared_whole: The tables of which all rows were compared.
        duration_s: How long it took.
    """

    publish: Publish
    published_at: datetime
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


def export(folder: DataFolder, url: str, *, tables: Sequence[str] = (), wait_s: float = 0.0) -> Exported:
    """Bring the tables of a target to what is published, or those named.

    Args:
        folder: The published tables.
        url: The target.
        tables: The names of the tables; empty for all.
        wait_s: How long to wait for another process that exports to the same target.

    Raises:
        NothingPublishedError, OutdatedTablesError, UnknownTablesError: There is nothing to export.
        TargetError: The target can't be reached or written. It is as it was.
    """
    started_s = time.monotonic()
    with open_target(url, wait_s=wait_s) as target, open_source(folder) as source:
        standing = target.standing()
        written: dict[str, Written] = {}
        whole: list[str] = []
        for table in source.list_tables(tables):
            change = source.find_change(table, standing.get(table.name))
            if change is None:
                target.stay(table.name, source.publish.id)
                continue
            written[table.name] = target.write(change, source.publish.id)
            if change.is_whole:
                whole.append(table.name)
        target.finish(source)
        published_at = _published_at(source)
    return Exported(source.publish, published_at, written, tuple(whole), time.monotonic() - started_s)


def verify(
    folder: DataFolder, url: str, *, tables: Sequence[str] = (), sample: int = 5
) -> Iterator[Difference]:
    """Compare every row of a target with what is published, table by table.

    Raises:
        NothingPublishedError, OutdatedTablesError, UnknownTablesError: There is nothing to compare with.
        TargetError: The target can't be reached, or lacks a table.
    """
    with open_target(url) as target, open_source(folder) as source:
        for table in source.list_tables(tables):
            change = source.find_change(table, None)
            assert change is not None  # noqa: S101 - all rows count as changed
            yield target.compare(change, sample)


def _published_at(source: Source) -> datetime:
    ((published_at,),) = source.query(f"select published_at from {STATUS}")
    assert isinstance(published_at, datetime)  # noqa: S101 - the query gives a time
    return published_at
