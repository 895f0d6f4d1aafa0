"""The metadata that Dagster shows of a table: its columns, what an update did, and what its checks found.

Only shapes belong here. A run of a job and the reports of follow mode use the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg

from connector.fetch.calls import Fetched
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import Column
from pipelines.names import JOURNAL_CHECK, PUBLISHED, READABLE_CHECK
from pipelines.warehouse.audit import Finding, assertions
from pipelines.warehouse.sources import source_of
from pipelines.warehouse.update import TableUpdate

Result = dg.MaterializeResult[None] | dg.AssetCheckResult
"""The events that our assets yield."""


def checks_of(model: Model, checks: Sequence[Check]) -> list[Check]:
    """Return the checks of `model`: its header's promises, then those in `sql/checks/`."""
    return [*assertions(model), *(check for check in checks if check.model == model.table)]


def check_specs(model: Model, checks: Sequence[Check]) -> list[dg.AssetCheckSpec]:
    """Return the checks as Dagster announces them before a run."""
    specs = [
        dg.AssetCheckSpec(
            check.name, asset=model.name, description=check.description, blocking=check.is_blocking
        )
        for check in checks
    ]
    if source_of(model):
        text = "Every landed file could be read. A file that can't be read is skipped, and tried again later."
        specs.append(dg.AssetCheckSpec(READABLE_CHECK, asset=model.name, description=text))
    return specs


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """Return columns as Dagster shows them, without those that are hidden."""
    shown = [column for column in columns if not column.is_hidden]
    return dg.TableSchema([dg.TableColumn(column.name, column.type, column.description) for column in shown])


def update_metadata(
    model: Model, update: TableUpdate, lag_s: float | None, columns: Sequence[Column]
) -> dict[str, float | dg.TableSchema | dg.JsonMetadataValue]:
    """Return the counts of one update and the table's lag, as numbers, so that Dagster plots them over time.

    If no header describes the columns, they are included, and so are files that were passed over.
    """
    metadata: dict[str, float | dg.TableSchema | dg.JsonMetadataValue] = {
        "dagster/row_count": update.row_count,
        "rows_added": update.rows_added,
    }
    if lag_s is not None:
        metadata["lag_s"] = lag_s
    if not model.columns:
        metadata["dagster/column_schema"] = column_schema(columns)
    if source_of(model):
        metadata |= {"files_read": update.files_read, "rows_read": update.rows_read}
        metadata["duplicates_removed"] = update.rows_taken - update.rows_added
    if update.passed_over:
        metadata["files_passed_over"] = dg.MetadataValue.json(update.passed_over)
    return metadata


def published_metadata(path: Path, status: Mapping[str, object]) -> dict[str, dg.MetadataValue | float | str]:
    """Return the path and size of the file that readers open, and the facts of `pipeline_status`."""
    facts = {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in status.items()
        if value is not None
    }
    return {"path": dg.MetadataValue.path(path), "size_bytes": path.stat().st_size, **facts}


def journal_check_spec() -> dg.AssetCheckSpec:
    """Return the check of the receiver's journal as Dagster announces it."""
    text = "No segment of the journal was damaged. What can be read of one lands; the segment is kept aside."
    return dg.AssetCheckSpec(JOURNAL_CHECK, asset=PUBLISHED, description=text)


def journal_result(damaged: Sequence[Path]) -> dg.AssetCheckResult:
    """Return the result of the check of the journal, for the damaged segments that are kept aside."""
    listed = "\n".join(f"- `{path}`" for path in damaged)
    segments = {"segments": dg.MetadataValue.md(listed)} if damaged else {}
    return dg.AssetCheckResult(
        passed=not damaged,
        asset_key=PUBLISHED,
        check_name=JOURNAL_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"segment_count": len(damaged), **segments},
    )


def fetched_metadata(fetched: Fetched) -> dict[str, int | str]:
    """Return the counts of a fetch by outcome, and the error that stopped it, if one did."""
    stopped = {"stopped_by": str(fetched.stopped_by)} if fetched.stopped_by else {}
    outcomes: dict[str, int] = {str(outcome): count for outcome, count in fetched.outcomes.items()}
    return {"asked": fetched.outcomes.total(), **outcomes, **stopped}


def check_results(
    model: Model, checks: Sequence[Check], update: TableUpdate, findings: Sequence[Finding]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of every check of `model`.

    A blocking check that fails stops the update, so one without a finding has passed.
    """
    found = {finding.name: finding for finding in findings}
    for check in checks:
        nothing = Finding(check.name, check.description, check.is_blocking, 0, (), ())
        yield finding_result(found.get(check.name, nothing))
    if source_of(model):
        yield _readable_result(update)


def finding_result(finding: Finding) -> dg.AssetCheckResult:
    """Return the result for a finding, with a sample of the rows that break the rule, if any do.

    A check that could not run is shown as a warning with the reason, and not as passed.
    """
    sample = {"rows": rows_value(finding.columns, finding.rows)} if finding.rows else {}
    is_error = finding.is_blocking and not finding.problem
    return dg.AssetCheckResult(
        passed=finding.row_count == 0 and not finding.problem,
        check_name=finding.name,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=finding.problem or None,
        metadata={} if finding.problem else {"row_count": finding.row_count, **sample},
    )


def rows_value(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.TableMetadataValue:
    """Return rows as a table in Dagster's UI."""
    records = [
        dg.TableRecord(
            {name: "null" if value is None else str(value) for name, value in zip(columns, row, strict=True)}
        )
        for row in rows
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records, schema)


def _readable_result(update: TableUpdate) -> dg.AssetCheckResult:
    listed = "\n".join(f"- `{path}`: {reason}" for path, reason in sorted(update.unreadable.items()))
    files = {"files": dg.MetadataValue.md(listed)} if listed else {}
    return dg.AssetCheckResult(
        passed=not update.unreadable,
        check_name=READABLE_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"file_count": len(update.unreadable), **files},
    )
