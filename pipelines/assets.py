"""Dagster's assets: one for each SQL model, the zones of landing before them, the published file after them.

An asset says what a table is and shows what became of it. What is done to it is `pipelines.sync`'s.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from connector.schemas import ANSWER_SCHEMA, EVENT_SCHEMA
from pipelines.audit import AuditError, Finding, assertions
from pipelines.models import Check, Model
from pipelines.resources import WarehouseResource
from pipelines.sources import source_of
from pipelines.sync import Update

PUBLISHED = "published_warehouse"
READABLE_CHECK = "landed_files_are_readable"

Result = dg.MaterializeResult[None] | dg.AssetCheckResult


_LANDED = (
    ("landed_events", EVENT_SCHEMA, "Webhook deliveries, as the receiver stored them."),
    ("landed_pca", ANSWER_SCHEMA, "Attempts to fetch post-call analyses, with their raw answers."),
    ("landed_calls", ANSWER_SCHEMA, "Attempts to fetch call details, with their raw answers."),
)


def landed_assets() -> list[dg.AssetSpec]:
    """The zones of landing, which the receiver and the fetch write and Dagster only reads."""
    return [
        dg.AssetSpec(
            name,
            group_name="landing",
            description=description,
            kinds={"parquet"},
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(field.name, str(field.type)) for field in schema]
                )
            },
        )
        for name, schema, description in _LANDED
    ]


def model_assets(models: Sequence[Model], checks: Sequence[Check]) -> list[dg.AssetsDefinition]:
    """One asset for each model that is kept as a table."""
    tables = {model.table: model.name for model in models}
    return [
        _model_asset(
            model,
            upstream=sorted(_upstream_assets(model, tables)),
            checks=[*assertions(model), *(check for check in checks if check.model == model.table)],
            is_loaded=source_of(model) is not None,
        )
        for model in models
    ]


def published_asset(models: Sequence[Model]) -> dg.AssetsDefinition:
    """The file that readers open, swapped in once every table is up to date."""
    # What is read by another table is done before it, so the graph need not say so again.
    read = {table for model in models for table in model.upstream}

    @dg.asset(
        name=PUBLISHED,
        deps=[model.name for model in models if model.table not in read],
        group_name="publish",
        kinds={"duckdb"},
        description="The tables as readers see them: `warehouse.duckdb`, replaced in one atomic step.",
    )
    def published(warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
        path = warehouse.publish()
        return dg.MaterializeResult(
            metadata={"path": dg.MetadataValue.path(path), "size_bytes": path.stat().st_size}
        )

    return published


def _model_asset(
    model: Model, *, upstream: Sequence[str], checks: Sequence[Check], is_loaded: bool
) -> dg.AssetsDefinition:
    @dg.asset(
        name=model.name,
        deps=upstream,
        group_name=model.folder,
        kinds={"duckdb", "sql"},
        description=model.description or None,
        code_version=model.fingerprint,
        metadata={"dagster/column_schema": _column_schema(model), "dagster/relation_identifier": model.table},
        check_specs=[*_check_specs(model, checks), *(_readable_spec(model) if is_loaded else [])],
    )
    def table(warehouse: WarehouseResource) -> Iterator[Result]:
        try:
            update = warehouse.sync().update(model)
        except AuditError as error:
            yield _check_result(error.finding)
            raise dg.Failure(
                str(error), metadata={"rows": _rows(error.finding)}, allow_retries=False
            ) from None
        yield dg.MaterializeResult(metadata=_update_metadata(update, is_loaded=is_loaded))
        found = {finding.name: finding for finding in update.outcome.findings}
        for check in checks:
            yield _check_result(found.get(check.name) or _passed(check))
        if is_loaded:
            yield _readable_result(update)

    return table


def _upstream_assets(model: Model, tables: dict[str, str]) -> Iterator[str]:
    yield from (tables[name] for name in model.upstream if name in tables)
    if source := source_of(model):
        yield source.asset


def _column_schema(model: Model) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.type, column.description) for column in model.columns]
    )


def _check_specs(model: Model, checks: Sequence[Check]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check.name, asset=model.name, description=check.description, blocking=check.is_blocking
        )
        for check in checks
    ]


def _readable_spec(model: Model) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            READABLE_CHECK,
            asset=model.name,
            description="Every landed file could be read; one that can't is set aside and tried again.",
        )
    ]


def _update_metadata(update: Update, *, is_loaded: bool) -> dict[str, int]:
    read = {"files_read": update.files_read, "rows_read": update.rows_read} if is_loaded else {}
    return {
        "dagster/row_count": update.outcome.row_count,
        "rows_added": update.outcome.rows_added,
        "rows_replaced": update.outcome.rows_replaced,
        **read,
    }


def _check_result(finding: Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.row_count == 0,
        check_name=finding.name,
        severity=dg.AssetCheckSeverity.ERROR if finding.is_blocking else dg.AssetCheckSeverity.WARN,
        metadata={"row_count": finding.row_count, "rows": _rows(finding)},
    )


def _readable_result(update: Update) -> dg.AssetCheckResult:
    listed = "\n".join(f"- `{path}`: {reason}" for path, reason in sorted(update.unreadable.items()))
    return dg.AssetCheckResult(
        passed=not update.unreadable,
        check_name=READABLE_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"row_count": len(update.unreadable), "files": dg.MetadataValue.md(listed or "none")},
    )


def _rows(finding: Finding) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({name: str(value) for name, value in zip(finding.columns, row, strict=True)})
        for row in finding.rows
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in finding.columns or ("none",)])
    return dg.MetadataValue.table(records, schema)


def _passed(check: Check) -> Finding:
    return Finding(check.name, check.description, check.is_blocking, 0, (), ())
