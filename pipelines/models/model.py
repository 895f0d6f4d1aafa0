"""The kinds of SQL file: a model that is kept as a table, a check on one, a question, and a shared function.

The meaning of their headers belongs here. Reading them from a folder does not: see `pipelines.models.load`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import duckdb

from pipelines.models.relations import STORED, Call, Parsed, is_select, parse
from pipelines.models.sql_file import SqlFile

CHANGED = "changed"
"""The relation with the keys that a model must compute again. A refresh creates it."""
EXISTING = "existing"
"""The relation with the rows that a table already has for these keys. A refresh creates it."""
AS_OF = "as_of"
"""The parameter of a check with the time at which it runs, UTC."""
LONGEST_CALL = "longest_call_s"
"""The parameter of a check with the time that a call may go without an event [s], as the settings have it."""

TIME_ZONE = "$time_zone"
"""The parameter of a function with the time zone that cuts time into days and hours, an IANA name."""


@dataclass(frozen=True)
class Function(SqlFile):
    """An expression or a SELECT that several models share, with the functions that it calls."""

    functions: tuple["Function", ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return self.listed("parameters")

    @cached_property
    def is_table(self) -> bool:
        """True if it is a SELECT, which is called where a table is read."""
        return is_select(self.sql)

    @property
    def definition(self) -> str:
        """The statement that lets a connection use it. Nothing is stored in the database."""
        kind = "table " if self.is_table else ""
        parameters = ", ".join(self.parameters)
        return f"create or replace temp macro {self.name}({parameters}) as {kind}{self.sql}"

    @property
    def tables(self) -> frozenset[str]:
        """The tables that it reads whoever calls it, itself or by a function that it calls."""
        return tables_of(self.parsed, self.functions) - set(self.parameters)

    @cached_property
    def parsed(self) -> Parsed:
        """What its text reads and calls. Its parameters count as tables where it reads them as such."""
        return parse(self.sql if self.is_table else f"select {self.sql}", self.where())


@dataclass(frozen=True)
class _Statement(SqlFile):
    """A SELECT with the functions that it, its header or these functions call."""

    functions: tuple[Function, ...] = ()

    @cached_property
    def reads(self) -> frozenset[str]:
        """Every relation that it reads, by itself or by a function: CTEs do not count."""
        return tables_of(parse(self.sql, self.where()), self.functions)


@dataclass(frozen=True)
class Model(_Statement):
    """A SELECT that is kept as a table. In `reads`, `changed` and the table itself count.

    Attributes:
        problem: Why its file can't be used, empty if it can. Its table then stays as it is published.
    """

    problem: str = ""

    @property
    def table(self) -> str:
        """The table's name as SQL refers to it: with its schema, unless that is `main`."""
        schema = self.fields.get("schema", "main")
        return self.name if schema == "main" else f"{schema}.{self.name}"

    @property
    def stored(self) -> str:
        """The table with its rows: another one where `table` is a view that leaves out hidden columns.

        Tables in `ops` have no such view: they are not for people.
        """
        is_shown_whole = self.table != self.name or len(self.shown_columns) == len(self.columns)
        return self.table if is_shown_whole else f"{STORED}.{self.name}"

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
        listed = ", ".join(f'"{key}"' for key in self.keys)
        return self.fields.get(f"changed by {upstream}") or f"select {listed}"

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
class Check(_Statement):
    """A SELECT of the rows that break a rule. If there are none, the check passes."""

    @property
    def model(self) -> str:
        """The table that the check is about."""
        return self.fields["on"]

    @property
    def is_blocking(self) -> bool:
        """True if a failure leaves the table as it was."""
        return self.fields.get("severity", "error") == "error"

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters that it uses: only a check that does not block may use any."""
        return parse(self.sql, self.where()).parameters


@dataclass(frozen=True)
class Question(_Statement):
    """A SELECT that answers a question people ask. The first line of its description is the question.

    Attributes:
        problem: Why its file can't be used, empty if it can.
    """

    problem: str = ""

    @property
    def text(self) -> str:
        """The question in words, empty if its header has none."""
        return self.description.partition("\n")[0]


@dataclass(frozen=True)
class Unusable:
    """A check or a function that is left out because its file can't be used.

    Attributes:
        name: Its name.
        problem: Why it can't be used, with its file and the fix.
        blocks: The table that a check of severity error is about. Empty for any other file.
    """

    name: str
    problem: str
    blocks: str = ""


def tables_of(parsed: Parsed, functions: tuple[Function, ...]) -> frozenset[str]:
    """Return the tables that a statement reads, by itself or by one of `functions`."""
    found = set(parsed.relations)
    by_name = {each.name: each for each in functions}
    for call in parsed.calls:
        function = by_name.get(call.function)
        if function is not None:
            found |= function.tables
        if call.is_source:
            found |= _named_tables(call, function)
    return frozenset(found)


def _named_tables(call: Call, function: Function | None) -> set[str]:
    """Return the tables that the arguments of a call name."""
    if function is None:
        return {name for names in call.names for name in names} if call.function == "query_table" else set()
    read = tables_of(function.parsed, function.functions)
    pairs = zip(function.parameters, call.names, strict=False)
    return {name for parameter, names in pairs if parameter in read for name in names}
