"""The kinds of SQL file: a model that is kept as a table, a check on one, and a function that models share.

The meaning of their headers belongs here. Reading them from a folder does not: see `pipelines.models.load`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import duckdb

from pipelines.models.relations import relations_in
from pipelines.models.sql_file import SqlFile

CHANGED = "changed"
"""The relation with the keys that a model must compute again. A refresh creates it."""
EXISTING = "existing"
"""The relation with the rows that a table already has for these keys. A refresh creates it."""


@dataclass(frozen=True)
class Function(SqlFile):
    """An expression that several models share."""

    @property
    def definition(self) -> str:
        """The statement that lets a connection use it. Nothing is stored in the database."""
        parameters = ", ".join(self.listed("parameters"))
        return f"create or replace temp macro {self.name}({parameters}) as {self.sql}"


@dataclass(frozen=True)
class Model(SqlFile):
    """A SELECT that is kept as a table, with the functions that it or its header calls."""

    functions: tuple[Function, ...] = ()

    @property
    def table(self) -> str:
        """The table's name as SQL refers to it: with its schema, unless that is `main`."""
        schema = self.fields.get("schema", "main")
        return self.name if schema == "main" else f"{schema}.{self.name}"

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that are unique together. Empty if the header names none."""
        return self.listed("grain")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which rows are replaced: those of `keys:`, or else the grain."""
        return self.listed("keys") or self.grain

    @property
    def received_column(self) -> str:
        """The column with the time of receipt, in a table that loads from landing."""
        return self.fields.get("received", "received_at")

    @cached_property
    def reads(self) -> frozenset[str]:
        """Every relation that the SELECT reads: `changed` and the table itself count, CTEs do not."""
        return relations_in(self.sql, self.name)

    @property
    def upstream(self) -> frozenset[str]:
        """The relations that the table is made from."""
        return self.reads - {CHANGED, EXISTING, self.table}

    @property
    def is_incremental(self) -> bool:
        """True if it computes only changed keys. Any other model is computed as a whole."""
        return bool({CHANGED, EXISTING} & self.reads)

    def changed_by(self, upstream: str) -> str:
        """Return the SELECT, without FROM, that turns changed rows of `upstream` into keys of this model."""
        return self.fields.get(f"changed by {upstream}") or f"select {', '.join(self.keys)}"

    def ignores(self, upstream: str) -> tuple[str, ...]:
        """Return the columns of `upstream` that it does not read. If only these change, nothing is queued."""
        return self.listed(f"ignores {upstream}")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what the table is built with. If it changes, the table is rebuilt.

        It covers the header's fields and columns, the statement, the functions that it calls, and DuckDB's
        version, because its `hash()` may change.
        """
        columns = [vars(column) for column in self.columns]
        functions = [function.definition for function in self.functions]
        content = json.dumps([dict(self.fields), columns, self.sql, functions, duckdb.__version__])
        return sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Check(SqlFile):
    """A SELECT of the rows that break a rule. If there are none, the check passes."""

    @property
    def model(self) -> str:
        """The table that the check is about."""
        return self.fields["on"]

    @property
    def is_blocking(self) -> bool:
        """True if a failure leaves the table as it was."""
        return self.fields.get("severity", "error") == "error"
