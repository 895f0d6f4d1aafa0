"""The rows by which a copy differs from a table, for targets that can't compare by themselves.

Comparing belongs here. How a copy is read does not.
"""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from pipelines.exports.change import Change, Render
from pipelines.exports.target import Difference
from pipelines.warehouse.catalog import quoted

# Rows that are there twice count twice, so a copy with a row too many is not equal.
_UNLIKE = """
    create or replace temp table unlike as
    select *, true as _is_ours from ((from ours) except all (select {listed} from theirs))
    union all by name
    select *, false as _is_ours from ((select {listed} from theirs) except all (from ours))
"""


@dataclass(frozen=True)
class Unlike:
    """The rows by which a copy differs: how many, and on which days. None stands for rows without a day."""

    difference: Difference
    days: frozenset[date | None]


def find_unlike(change: Change, copy: pa.RecordBatchReader, render: Render, sample: int = 0) -> Unlike:
    """Compare a copy with all rows of a table.

    Args:
        change: A whole change.
        copy: The rows of the copy, with the columns of the table in the types of `render`.
        render: Returns the SQL of the value that the copy has for a column.
        sample: The number of keys to name.
    """
    table = change.table
    grain = ", ".join(map(quoted, table.grain)) or "1"
    listed = ", ".join(quoted(column.name) for column in table.columns)
    with change.beside(copy, render) as query:
        query(_UNLIKE.format(listed=listed))
        try:
            ((row_count,),) = query("select count(*) from ours")
            ((lacks, has),) = query(
                "select count(*) filter (_is_ours), count(*) filter (not _is_ours) from unlike"
            )
            differing = 0
            if table.grain:
                same = f"select {grain} from unlike where not _is_ours"
                ((differing,),) = query(
                    f"select count(*) from unlike where _is_ours and ({grain}) in ({same})"
                )
            keys = query(
                f"select distinct {grain} from unlike order by all limit {sample if table.grain else 0}"
            )
            days = query("select distinct day from unlike") if table.has_day else []
        finally:
            query("drop table unlike")
    found = Difference(table.name, row_count, differing, lacks - differing, has - differing, tuple(keys))
    return Unlike(found, frozenset(day for (day,) in days))
