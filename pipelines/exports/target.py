"""What a target of exports is: a place, named by a URL, that keeps a copy of the tables.

The protocol belongs here. Each target is a module of its own, and `pipelines.exports.targets` lists them.

A target keeps for each table the id of the publish at which its copy stands, beside the rows and changed
together with them. So whatever was killed, restored or made again, the next export knows where to go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from connector.errors import OperatorError
from pipelines.exports.change import Change, Source, Table


class TargetError(OperatorError):
    """A target that can't be reached or written. The message has none of its secrets."""


@dataclass(frozen=True)
class Written:
    """The rows of one table that a target wrote and deleted. Rows that were equal do not count."""

    rows_written: int = 0
    rows_deleted: int = 0


@dataclass(frozen=True)
class Difference:
    """The comparison of one table: how many rows of the target differ, are missing or surplus, and some keys.

    Attributes:
        table: The table.
        row_count: The rows that were compared.
        differing: Rows of the same grain with other values.
        missing: Rows that only the warehouse has.
        surplus: Rows that only the target has.
        keys: The grain of some of them.
    """

    table: str
    row_count: int
    differing: int = 0
    missing: int = 0
    surplus: int = 0
    keys: tuple[tuple[object, ...], ...] = ()

    @property
    def is_equal(self) -> bool:
        """True if the target has the warehouse's rows and no others."""
        return not (self.differing or self.missing or self.surplus)


class Target(Protocol):
    """An open target. Only one process has it open at a time."""

    def standing(self, tables: Sequence[Table]) -> Mapping[str, UUID]:
        """Return the id of the publish at which the copies of some tables stand, as far as that is known.

        It is not known of a copy that was changed in a way in which no part of it can be brought further.
        """

    def write(self, change: Change, publish_id: UUID) -> Written:
        """Bring the copy of one table to a publish. Readers see it at the latest after `finish`.

        Rows of `change` are inserted or replace those of the same grain, and what is gone is deleted. If the
        change is whole, everything else in the copy is deleted, and what is equal should not be written.
        """

    def stay(self, table: str, publish_id: UUID) -> None:
        """Note that the copy of a table, in which nothing changed, stands at a publish."""

    def finish(self, source: Source) -> None:
        """Make everything that was written durable and visible, with what is made from several tables."""

    def compare(self, change: Change, sample: int) -> Difference:
        """Compare the copy with all rows of a table, and write nothing.

        Args:
            change: A whole change.
            sample: The number of keys to name.
        """
