"""`verbex-sync verify --rebuild`: the tables are built again in a separate file, and compared.

Comparing belongs here. It proves and does not repair: nothing that readers see is changed. Building does not
belong here: a session builds these tables as it builds any others, see `pipelines.warehouse.session`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from pipelines.models.model import Model
from pipelines.reconciliation.scratch import scratch_folder
from pipelines.warehouse.catalog import attach, columns_of, qualified, quoted
from pipelines.warehouse.data_folder import DataFolder, OutdatedTablesError
from pipelines.warehouse.database import connect
from pipelines.warehouse.files import WarehouseFile
from pipelines.warehouse.session import Session

_SAMPLE_ROWS = 5


@dataclass(frozen=True)
class Difference:
    """The comparison of one table: rows that only the published or the rebuilt one has, and keys of some."""

    table: str
    row_count: int
    published_only: int
    rebuilt_only: int
    keys: tuple[tuple[object, ...], ...]

    @property
    def is_equal(self) -> bool:
        """True if the two tables have the same rows."""
        return not self.published_only and not self.rebuilt_only


def compare_with_rebuild(folder: DataFolder) -> Iterator[Difference]:
    """Build every table again from the landed files that the published ones hold, and compare each.

    Yields:
        One result for each table, in the order of the models.

    Raises:
        NothingPublishedError: There is nothing to compare with.
        OutdatedTablesError: A published table was made by other SQL than today's.
        ModelError, AuditError: A table can't be built today. All others are compared before.
    """
    folder.read().close()  # raises the error with the next step if nothing is published
    published = folder.warehouse.published.resolve()
    with scratch_folder(folder.path) as scratch:
        path = scratch / "rebuilt.duckdb"
        with connect(path, folder.memory_bytes) as connection:
            file = WarehouseFile(path, connection, path, [published])
            session = Session(file, folder)
            session.follow_published()
            attach(connection, published, "published")
            for model in session.models:
                if not session.has_table(model):
                    continue
                try:
                    yield _compare(connection, model)
                except (duckdb.CatalogException, duckdb.BinderException) as error:
                    raise OutdatedTablesError(
                        f"The published table {model.table} was made by other SQL than today's. Run "
                        "`verbex-sync sync` first, then compare again."
                    ) from error
            for reason in session.held_back.values():
                raise reason


def _compare(connection: duckdb.DuckDBPyConnection, model: Model) -> Difference:
    listed = ", ".join(quoted(name) for name, _ in columns_of(connection, f"from {model.stored}"))
    ours, theirs = (
        f"select {listed} from {model.stored}",
        f"select {listed} from published.{qualified(model.stored)}",
    )
    ((row_count,),) = connection.execute(f"select count(*) from {model.stored}").fetchall()
    if connection.execute(_digest(ours)).fetchall() == connection.execute(_digest(theirs)).fetchall():
        return Difference(model.table, row_count, 0, 0, ())
    counts = []
    for name, one, other in (("published_only", theirs, ours), ("rebuilt_only", ours, theirs)):
        sql = f"create or replace temp table {name} as {one} except all {other}"
        ((count,),) = connection.execute(sql).fetchall()
        counts.append(count)
    keys = ", ".join(map(quoted, model.grain)) or listed
    differing = f"(from published_only union all from rebuilt_only) select distinct {keys} order by all"
    sample = connection.execute(f"from {differing} limit {_SAMPLE_ROWS}").fetchall()
    return Difference(model.table, row_count, counts[0], counts[1], tuple(sample))


def _digest(rows: str) -> str:
    """Return a SELECT of a digest that does not depend on the order of rows."""
    return f"select count(*), sum(hash(listed)::hugeint) from ({rows}) listed"
