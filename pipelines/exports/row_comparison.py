"""Rows of a table against those of a copy that was read back, for targets that can't compare by themselves.

Only counting and comparing belongs here. How rows are read does not.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b

from pipelines.exports.change import Change, Table
from pipelines.exports.target import Difference, Written

Row = tuple[object, ...]


def count_changes(change: Change) -> Written:
    """Count the rows that are new or changed, and those that are gone, without reading their values."""
    written = sum(batch.num_rows for batch in change.rows(lambda _: "0"))
    deleted = sum(batch.num_rows for batch in change.gone(lambda _: "0")) if change.has_gone else 0
    return Written(written, deleted)


def compare_rows(
    table: Table, ours: Callable[[], Iterable[Row]], theirs: Iterable[Row], sample: int
) -> Difference:
    """Compare rows in any order. Some 150 bytes are held for each.

    Args:
        table: The table.
        ours: Reads the rows of the warehouse, as the copy should have them.
        theirs: The rows of the copy.
        sample: The number of keys to name.
    """
    unmatched = Counter(map(_digest, ours()))
    row_count = unmatched.total()
    surplus = [_key(table, row) for row in theirs if not _take(unmatched, row)]
    missing = [_key(table, row) for row in ours() if _take(unmatched, row)] if unmatched.total() else []
    if not table.grain:
        return Difference(table.name, row_count, missing=len(missing), surplus=len(surplus))
    differing = len(set(missing) & set(surplus))
    keys = sorted({*missing, *surplus}, key=repr)[:sample]
    return Difference(
        table.name, row_count, differing, len(missing) - differing, len(surplus) - differing, tuple(keys)
    )


def _take(unmatched: Counter[bytes], row: Row) -> bool:
    digest = _digest(row)
    is_there = unmatched[digest] > 0
    if is_there:
        unmatched[digest] -= 1
    return is_there


def _digest(row: Row) -> bytes:
    return blake2b(repr(row).encode(), digest_size=16).digest()


def _key(table: Table, row: Row) -> Row:
    return tuple(
        value for column, value in zip(table.columns, row, strict=False) if column.name in table.grain
    )
