"""Checks on rows before they are kept: what a header promises, and the queries of `sql/checks/`.

Running a check and telling what it found belongs here. What a failure means for a table does not:
`pipelines.warehouse.refresh`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from connector.errors import OperatorError
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import ModelError

_SAMPLE_ROWS = 5


@dataclass(frozen=True)
class Finding:
    """What a check found; `rows` is a sample of those that break the rule, empty if none does."""

    name: str
    description: str
    is_blocking: bool
    row_count: int
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


class AuditError(OperatorError):
    """A blocking check failed; the table keeps its old rows."""

    def __init__(self, model: Model, finding: Finding) -> None:
        self.model = model
        self.finding = finding
        example = dict(zip(finding.columns, finding.rows[0], strict=True))
        super().__init__(
            f"{model.table} was left as it was: {finding.row_count} rows break the check {finding.name}, "
            f"such as {example}. Mend the data or {model.folder}/{model.name}.sql and sync again."
        )


def assertions(model: Model, rows: str = "") -> tuple[Check, ...]:
    """What the header of `model` promises of its rows, as checks on the relation `rows`."""
    return tuple(
        Check(
            name=name,
            folder=model.folder,
            description=description,
            fields={"on": model.table},
            columns=(),
            sql=sql,
        )
        for name, description, sql in _promises(model, rows or model.table)
    )


def run_check(connection: duckdb.DuckDBPyConnection, model: Model, check: Check) -> Finding:
    """Run one check.

    Raises:
        AuditError: It is blocking, and there are rows that break it.
        ModelError: Its SQL can't be run.
    """
    try:
        made = connection.execute(f"create or replace temp table found as {check.sql}")
    except duckdb.Error as error:
        raise ModelError(f"The check {check.name} on {model.table} can't be run: {error}") from error
    ((row_count,),) = made.fetchall()
    columns, rows = _sample(connection) if row_count else ((), ())
    finding = Finding(check.name, check.description, check.is_blocking, row_count, columns, rows)
    if finding.row_count and finding.is_blocking:
        raise AuditError(model, finding)
    return finding


def inspect(
    connection: duckdb.DuckDBPyConnection, model: Model, checks: Sequence[Check]
) -> tuple[Finding, ...]:
    """Run those checks of `model` that keep nothing from being published.

    They may look at a whole history, so they are run when somebody is told, and not at every refresh.
    """
    return tuple(
        run_check(connection, model, check)
        for check in checks
        if check.model == model.table and not check.is_blocking
    )


def _sample(connection: duckdb.DuckDBPyConnection) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    sample = connection.execute(f"from found limit {_SAMPLE_ROWS}")
    return tuple(column for column, *_ in sample.description or ()), tuple(sample.fetchall())


def _promises(model: Model, rows: str) -> Iterator[tuple[str, str, str]]:
    if model.grain:
        grain = ", ".join(model.grain)
        yield (
            "unique_grain",
            f"One row per {grain}.",
            f"select {grain}, count(*) as row_count from {rows} group by {grain} having count(*) > 1",
        )
    if required := model.listed("not null"):
        condition = " or ".join(f"{column} is null" for column in required)
        yield "not_null", f"Never null: {', '.join(required)}.", f"from {rows} where {condition}"
