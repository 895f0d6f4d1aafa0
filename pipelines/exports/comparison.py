"""The rows by which a copy differs from a table, for targets that can't compare by themselves.

Comparing belongs here. How a copy is read does not.
"""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from pipelines.exports.change import OURS, THEIRS, UNLIKE, Change, Render
from pipelines.exports.target import Difference
from pipelines.warehouse.catalog import alike, quoted

# Rows that are there twice count twice, so a copy with a row too many is not equal.
_FIND = f"""
    create or replace temp table {UNLIKE} as
    select *, true as _is_ours from ((from {OURS}) except all (select {{listed}} from {THEIRS}))
    union all by name
    select *, false as _is_ours from ((select {{listed}} from {THEIRS}) except all (from {OURS}))
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
        query(_FIND.format(listed=listed))
        try:
            ((row_count,),) = query(f"select count(*) from {OURS}")
            ((lacks, has),) = query(
                f"select count(*) filter (_is_ours), count(*) filter (not _is_ours) from {UNLIKE}"
            )
            differing = 0
            if table.grain:
                same = alike("ours", "theirs", table.grain)
                ((differing,),) = query(
                    f"select count(*) from {UNLIKE} as ours semi join"
                    f" (from {UNLIKE} where not _is_ours) as theirs on {same} where ours._is_ours"
                )
            keys = query(
                f"select distinct {grain} from {UNLIKE} order by all limit {sample if table.grain else 0}"
            )
            days = query(f"select distinct day from {UNLIKE}") if table.has_day else []
        finally:
            query(f"drop table {UNLIKE}")
    found = Difference(table.name, row_count, differing, lacks - differing, has - differing, tuple(keys))
    return Unlike(found, frozenset(day for (day,) in days))
