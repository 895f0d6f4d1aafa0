"""One transaction on one schema of PostgreSQL: statements, names, and rows staged by ADBC.

Only running them belongs here. Which statements make a copy does not: see
`pipelines.exports.postgresql_tables` and `pipelines.exports.postgresql_rows`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from pipelines.exports.postgresql_types import identifier, literal, named
from pipelines.exports.target import TargetError

_RELATIONS = """
    select relname, coalesce(obj_description(oid, 'pg_class'), '')
    from pg_catalog.pg_class
    where relnamespace = (select oid from pg_catalog.pg_namespace where nspname = {schema})
        and relkind in ('r', 'v', 'm', 'f', 'p', 'S')
"""


class Session:
    """The transaction of one connection. Whoever opened the connection commits it."""

    def __init__(self, cursor: Any, schema: str) -> None:  # noqa: ANN401 - untyped drivers
        self.cursor = cursor
        self.schema = schema

    def run(self, statement: str) -> None:
        """Run a statement."""
        self.cursor.execute(statement)

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT, of which there are few."""
        self.cursor.execute(select)
        return list(self.cursor.fetchall())

    def value(self, select: str) -> Any:  # noqa: ANN401 - of any type
        """Return the one value of a SELECT."""
        ((value,),) = self.rows(select)
        return value

    def count(self, statement: str) -> int:
        """Run a statement that writes, and return how many rows it wrote."""
        return int(self.value(f"with written as ({statement} returning 1) select count(*) from written"))

    def relations(self) -> dict[str, str]:
        """Return the tables, views and the like of the schema, with their comments."""
        return dict(self.rows(_RELATIONS.format(schema=literal(self.schema))))

    def qualified(self, table: str) -> str:
        """Return the name of a table with its schema, as an identifier."""
        return f"{identifier(self.schema)}.{identifier(table)}"

    @contextmanager
    def staged(self, name: str, rows: pa.RecordBatchReader) -> Iterator[None]:
        """Keep rows in a temporary table while the block runs."""
        names = list(map(named, rows.schema.names))
        if names != rows.schema.names:
            fields = zip(rows.schema, names, strict=True)
            schema = pa.schema([field.with_name(short) for field, short in fields])
            rows = pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(names) for batch in rows))
        self.ingest(name, rows)
        yield
        self.run(f"drop table {name}")

    def ingest(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Make a temporary table of rows."""
        self.cursor.adbc_ingest(name, rows, mode="create", temporary=True)

    def not_ours(self, name: str) -> TargetError:
        """Return the error for something in the schema that somebody else made."""
        return TargetError(
            f"The schema {self.schema} has a {name} that verbex-sync did not make. Nothing was written. Name "
            "another schema with ?schema=NAME, or rename it."
        )
