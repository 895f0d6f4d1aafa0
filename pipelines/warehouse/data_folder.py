"""One data folder: its landing, its warehouse files, and the SQL that makes its tables.

Where these are, and running a named query on the published tables, belongs here. Writing the tables does not:
see `pipelines.warehouse.session`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import duckdb

from connector.errors import OperatorError
from connector.journal.segment import DAMAGED_SUFFIX
from connector.landing.files import Landing
from connector.settings import Settings
from pipelines.models.load import Sql, load_questions, load_sql, read_query
from pipelines.models.model import Model, Question
from pipelines.models.sql_file import sql_folder
from pipelines.warehouse.files import NothingPublishedError, Warehouse


class OutdatedTablesError(OperatorError):
    """Published tables that were made by other SQL than today's, so that they can't be used for this."""


@dataclass(frozen=True)
class Rows:
    """Rows with the names of their columns."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()

    def column(self, name: str) -> tuple[object, ...]:
        """Return the values of one column, empty if there are no rows."""
        if not self.rows:
            return ()
        position = self.columns.index(name)
        return tuple(row[position] for row in self.rows)

    def total(self, name: str) -> int:
        """Return the sum of a column of counts."""
        return sum(count for count in self.column(name) if isinstance(count, int))


@dataclass(frozen=True)
class DataFolder:
    """The folder that `VERBEX_DATA_DIR` names, with everything made from its landing.

    Attributes:
        path: The folder.
        landing_url: Where landing is. Empty for the folder `landing` in the data folder.
        sql_dir: The folder of the SQL that makes its tables, as it came with verbex-sync.
        own_sql_dir: A customer's folder of SQL beside it; None for none.
        time_zone: The IANA time zone that cuts time into days and hours.
        memory_bytes: What DuckDB may hold while it writes [bytes]. None for what machine and container allow.
        rules: The names of the rules that act.
        longest_call_s: The time that a call may go without an event [s] before a check warns of it.
    """

    path: Path
    landing_url: str = ""
    sql_dir: Path = field(default_factory=sql_folder)
    own_sql_dir: Path | None = None
    time_zone: str = "UTC"
    memory_bytes: int | None = None
    rules: tuple[str, ...] = ()
    longest_call_s: float = Settings.model_fields["longest_call_s"].default

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the folder that `settings` describe."""
        return cls(
            settings.data_dir,
            settings.landing,
            own_sql_dir=settings.sql_dir,
            time_zone=settings.time_zone,
            memory_bytes=settings.memory_bytes,
            longest_call_s=settings.longest_call_s,
            rules=settings.actions,
        )

    @cached_property
    def landing(self) -> Landing:
        """Its landing zone. It is opened once and kept, because it remembers merged files."""
        return Landing(self.landing_url or str(self.path / "landing"))

    @property
    def sql(self) -> Sql:
        """Its SQL as the files are now.

        Raises:
            ModelError: A file of SQL can't be used.
        """
        return load_sql(self.sql_dir, self.own_sql_dir, self.time_zone, self.rules)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of its SQL as its files are now, each one after everything it reads.

        Raises:
            ModelError: A file of SQL can't be used.
        """
        return self.sql.models

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions of its SQL as its files are now, those that came with verbex-sync first.

        Raises:
            ModelError: As for `load_questions`.
        """
        return load_questions(self.sql_dir, self.own_sql_dir, self.time_zone)

    @property
    def warehouse(self) -> Warehouse:
        """Its warehouse files."""
        return Warehouse(self.path, self.memory_bytes)

    def damaged_segments(self) -> list[Path]:
        """List the segments of the receiver's journal that were damaged and are kept aside."""
        return sorted((self.path / "journal").rglob(f"*{DAMAGED_SUFFIX}"))

    def read(self) -> duckdb.DuckDBPyConnection:
        """Open the published tables for reading.

        Raises:
            NothingPublishedError: Nothing is published yet, or the file is damaged.
        """
        return self.warehouse.read()

    def query(self, name: str, **parameters: object) -> Rows:
        """Return the rows of the query `name` in `sql/queries/`, empty if nothing is published.

        Raises:
            OutdatedTablesError: The published tables lack what it reads.
        """
        try:
            with self.read() as connection:
                result = connection.execute(read_query(self.sql_dir, name), parameters)
                return Rows(_names_of(result), tuple(result.fetchall()))
        except NothingPublishedError:
            return Rows()
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise OutdatedTablesError(
                "The published tables were made by another version of verbex-sync, and lack what the query "
                f"{name} reads. Run `verbex-sync sync` first. DuckDB reports: {error}"
            ) from error

    def status(self) -> dict[str, object]:
        """Return the one row of the published `pipeline_status`, by column name.

        Raises:
            NothingPublishedError: Nothing is published yet, or the file is damaged.
        """
        with self.read() as connection:
            result = connection.execute("from pipeline_status")
            (row,) = result.fetchall()
            return dict(zip(_names_of(result), row, strict=True))


def _names_of(result: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(name for name, *_ in result.description or ())
