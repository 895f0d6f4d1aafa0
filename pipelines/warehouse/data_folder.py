"""One data folder: its landing, its warehouse files, and the SQL that they are made by.

Where these are, and asking the published tables a named query, belongs here. Writing them does not:
`pipelines.warehouse.session`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import duckdb

from connector.landing.files import Landing
from connector.settings import Settings
from pipelines.models.load import read_query
from pipelines.models.sql_file import sql_folder
from pipelines.warehouse.files import NothingPublishedError, Warehouse


@dataclass(frozen=True)
class Rows:
    """Rows with the names of their columns."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()

    def column(self, name: str) -> tuple[object, ...]:
        """The values of one column; none if there are no rows."""
        if not self.rows:
            return ()
        position = self.columns.index(name)
        return tuple(row[position] for row in self.rows)

    def total(self, name: str) -> int:
        """The sum of a column of counts."""
        return sum(count for count in self.column(name) if isinstance(count, int))


@dataclass(frozen=True)
class DataFolder:
    """The folder that `VERBEX_DATA_DIR` names, with everything that is made from its landing.

    Attributes:
        path: The folder.
        landing_url: Where landing is; empty for the folder `landing` in it.
        sql_dir: The SQL that its tables are made by.
    """

    path: Path
    landing_url: str = ""
    sql_dir: Path = field(default_factory=sql_folder)

    @classmethod
    def from_settings(cls, settings: Settings, sql_dir: Path | None = None) -> Self:
        """The folder that `settings` describe, with the SQL of `sql_dir`, or else our own."""
        return cls(settings.data_dir, settings.landing, sql_dir or sql_folder())

    @cached_property
    def landing(self) -> Landing:
        """Its landing zone; opened when it is first asked for, and kept, since it remembers merged files."""
        return Landing(self.landing_url or str(self.path / "landing"))

    @property
    def warehouse(self) -> Warehouse:
        """Its warehouse files."""
        return Warehouse(self.path)

    def read(self) -> duckdb.DuckDBPyConnection:
        """Open the published tables for reading.

        Raises:
            NothingPublishedError: No sync has published them yet, or they are damaged.
        """
        return self.warehouse.read()

    def query(self, name: str, **parameters: object) -> Rows:
        """The rows of a query of `sql/queries/`; none while nothing is published."""
        try:
            with self.read() as connection:
                result = connection.execute(read_query(self.sql_dir, name), parameters)
                return Rows(_names_of(result), tuple(result.fetchall()))
        except NothingPublishedError:
            return Rows()

    def status(self) -> dict[str, object]:
        """The one row of the published `pipeline_status`, by column name.

        Raises:
            NothingPublishedError: No sync has published one yet.
        """
        with self.read() as connection:
            result = connection.execute("from pipeline_status")
            (row,) = result.fetchall()
            return dict(zip(_names_of(result), row, strict=True))


def _names_of(result: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(name for name, *_ in result.description or ())
