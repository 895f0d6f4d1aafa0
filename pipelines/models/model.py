"""What a file of SQL is: a model that is kept as a table, a check on one, or a function that models share.

What their headers mean belongs here. Reading them from a folder does not: `pipelines.models.load`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import duckdb

from pipelines.models.relations import relations_in
from pipelines.models.sql_file import SqlFile

CHANGED = "changed"
"""The relation that holds the keys a model is to compute again; a refresh makes it."""
EXISTING = "existing"
"""The relation that holds the rows that a table has for those keys now; a refresh makes it."""


@dataclass(frozen=True)
class Function(SqlFile):
    """An expression that several models share."""

    @property
    def definition(self) -> str:
        """The statement that lets a connection use it; nothing of it is stored in the database."""
        parameters = ", ".join(self.listed("parameters"))
        return f"create or replace temp macro {self.name}({parameters}) as {self.sql}"


@dataclass(frozen=True)
class Model(SqlFile):
    """A SELECT that is kept as a table, and the functions that it or its header calls."""

    functions: tuple[Function, ...] = ()

    @property
    def table(self) -> str:
        """Its name with the schema where that is not `main`, as SQL refers to it."""
        schema = self.fields.get("schema", "main")
        return self.name if schema == "main" else f"{schema}.{self.name}"

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that are unique together; empty for a table computed whole."""
        return self.listed("grain")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which rows are replaced: the grain, or fewer where `keys:` says so."""
        return self.listed("keys") or self.grain

    @property
    def received_column(self) -> str:
        """In a table that loads from landing, the column that says when a row was received."""
        return self.fields.get("received", "received_at")

    @cached_property
    def reads(self) -> frozenset[str]:
        """Every relation the SELECT reads, itself and `changed` included, CTEs not."""
        return relations_in(self.sql, self.name)

    @property
    def upstream(self) -> frozenset[str]:
        """The relations that feed it."""
        return self.reads - {CHANGED, EXISTING, self.table}

    @property
    def is_incremental(self) -> bool:
        """Whether it computes only changed keys; any other model is computed whole."""
        return bool({CHANGED, EXISTING} & self.reads)

    def changed_by(self, upstream: str) -> str:
        """The SELECT, its FROM left out, that turns changed rows of `upstream` into keys of this model."""
        return self.fields.get(f"changed by {upstream}") or f"select {', '.join(self.keys)}"

    def ignores(self, upstream: str) -> tuple[str, ...]:
        """The columns of `upstream` that it does not read, so that a change of these alone is none to it."""
        return self.listed(f"ignores {upstream}")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the file, a function it calls, or DuckDB, whose `hash()` may; each rebuilds it."""
        columns = [vars(column) for column in self.columns]
        functions = [function.definition for function in self.functions]
        content = json.dumps([dict(self.fields), columns, self.sql, functions, duckdb.__version__])
        return sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Check(SqlFile):
    """A SELECT that returns the rows that break a rule; none is good."""

    @property
    def model(self) -> str:
        """The table it speaks about."""
        return self.fields["on"]

    @property
    def is_blocking(self) -> bool:
        """Whether a failure keeps the table's old rows standing."""
        return self.fields.get("severity", "error") == "error"
