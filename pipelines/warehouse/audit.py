"""Checks on rows before they are kept: the promises of a header, and the queries in `sql/checks/`.

Running a check and reporting what it found belongs here. The effect of a failure on a table does not: see
`pipelines.warehouse.refresh`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from connector.errors import OperatorError
from pipelines.models.model import AS_OF, LONGEST_CALL, Check, Function, Model
from pipelines.models.rules import NOT_NULL_CHECK, UNIQUE_CHECK
from pipelines.models.sql_file import ModelError
from pipelines.warehouse.catalog import quoted

_SAMPLE_ROWS = 5


@dataclass(frozen=True)
class Finding:
    """The result of a check. `rows` is a sample of the rows that break the rule, empty if none does.

    `problem` says why the check could not run. Nothing is known about the rows then.
    """

    name: str
    description: str
    is_blocking: bool
    row_count: int
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    problem: str = ""


class AuditError(OperatorError):
    """A blocking check that failed. The table keeps its old rows."""

    def __init__(self, model: Model, finding: Finding) -> None:
        self.model = model
        self.finding = finding
        example = dict(zip(finding.columns, finding.rows[0], strict=True))
        super().__init__(
            f"{model.table} was not updated: {finding.row_count} rows fail the check {finding.name}, for "
            f"example {example}. Fix the data or {model.where()}, then run `verbex-sync sync`."
        )


class CheckError(ModelError):
    """A check whose SQL can't be run. `check` is its name."""

    def __init__(self, model: Model, check: Check, error: duckdb.Error) -> None:
        self.check = check.name
        super().__init__(
            f"The check {check.name} on {model.table} can't be run. Fix {check.where()}. "
            f"DuckDB reports: {error}"
        )


def assertions(model: Model, rows: str = "") -> tuple[Check, ...]:
    """Return what the header of `model` promises about its rows, as checks on `rows` or else its table."""
    return tuple(
        Check(
            name=name,
            folder=model.folder,
            description=description,
            fields={"on": model.table},
            columns=(),
            sql=sql,
        )
        for name, description, sql in _promises(model, rows or model.stored)
    )


def define_functions(connection: duckdb.DuckDBPyConnection, functions: Iterable[Function]) -> None:
    """Let the connection call `functions`, each of which is given after those that it calls."""
    for function in functions:
        connection.execute(function.definition)


def run_check(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    check: Check,
    given: Mapping[str, object] | None = None,
) -> Finding:
    """Run one check with the values of its parameters, and return what it found. Only warnings have any.

    Raises:
        AuditError: The check is blocking, and some rows fail it.
        CheckError: Its SQL can't be run.
    """
    parameters = {name: value for name, value in (given or {}).items() if name in check.parameters}
    try:
        define_functions(connection, check.functions)
        made = connection.execute(f"create or replace temp table found as {check.sql}", parameters)
    except duckdb.Error as error:
        raise CheckError(model, check, error) from error
    ((row_count,),) = made.fetchall()
    columns, rows = _sample(connection) if row_count else ((), ())
    finding = Finding(check.name, check.description, check.is_blocking, row_count, columns, rows)
    if finding.row_count and finding.is_blocking:
        raise AuditError(model, finding)
    return finding


def inspect(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    checks: Sequence[Check],
    as_of: datetime,
    longest_call_s: float,
) -> tuple[Finding, ...]:
    """Run the non-blocking checks of `model`. One that can't run is a finding too.

    They may read a whole history, so they run when their results are reported, and not at every refresh.

    Args:
        connection: The tables.
        model: The table that is checked.
        checks: The checks of any table.
        as_of: The time of the checks, UTC.
        longest_call_s: The time that a call may go without an event.
    """
    given = {AS_OF: as_of, LONGEST_CALL: longest_call_s}
    return tuple(
        _inspect_one(connection, model, check, given)
        for check in checks
        if check.model == model.table and not check.is_blocking
    )


def unknown(check: Check, problem: str) -> Finding:
    """Return the finding for a check that could not run."""
    return Finding(check.name, check.description, check.is_blocking, 0, (), (), problem)


def _inspect_one(
    connection: duckdb.DuckDBPyConnection, model: Model, check: Check, given: Mapping[str, object]
) -> Finding:
    try:
        return run_check(connection, model, check, given)
    except ModelError as error:
        return unknown(check, str(error))


def _sample(connection: duckdb.DuckDBPyConnection) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    sample = connection.execute(f"from found limit {_SAMPLE_ROWS}")
    return tuple(column for column, *_ in sample.description or ()), tuple(sample.fetchall())


def _promises(model: Model, rows: str) -> Iterator[tuple[str, str, str]]:
    if model.grain:
        grain = ", ".join(map(quoted, model.grain))
        yield (
            UNIQUE_CHECK,
            f"One row per {', '.join(model.grain)}.",
            f'select {grain}, count(*) as "number of rows" from {rows} group by {grain} having count(*) > 1',
        )
    if required := model.listed("not null"):
        hidden = {column.name for column in model.columns if column.is_hidden}
        shown = ", ".join(column for column in required if column not in hidden)
        condition = " or ".join(f"{quoted(column)} is null" for column in required)
        listed = ", ".join(quoted(column.name) for column in model.shown_columns) or "*"
        yield NOT_NULL_CHECK, f"Never null: {shown}.", f"select {listed} from {rows} where {condition}"
