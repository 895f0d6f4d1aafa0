"""What an update did to one table.

Only the numbers belong here. See `pipelines.assets.metadata` for how Dagster shows them.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableUpdate:
    """The effect of an update on one table, and what it read, compared with what was published before.

    `rows_added` is how many more rows the table has, `has_changed` whether any row was written or removed.
    `rows_read` counts the rows of the landed files, `rows_taken` those of them that belong to this table.
    `unreadable` gives the reason for each landed file that was skipped and is tried again, `passed_over` for
    each that is not ours, or a copy of one that is.
    """

    rows_added: int = 0
    row_count: int = 0
    has_changed: bool = False
    files_read: int = 0
    rows_read: int = 0
    rows_taken: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def __add__(self, later: "TableUpdate") -> "TableUpdate":
        """Combine this update with a later one of the same table."""
        return TableUpdate(
            self.rows_added + later.rows_added,
            later.row_count,
            self.has_changed or later.has_changed,
            self.files_read + later.files_read,
            self.rows_read + later.rows_read,
            self.rows_taken + later.rows_taken,
            self.unreadable | later.unreadable,
            self.passed_over | later.passed_over,
        )
