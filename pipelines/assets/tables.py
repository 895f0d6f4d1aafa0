"""Dagster's assets: one for each SQL model, the zones of landing before them, the published file after them.

An asset says what a table is and shows what became of it. What is done to it is
`pipelines.warehouse.session`'s.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from connector.landing.zones import ANSWER_SCHEMA, EVENT_SCHEMA
from pipelines.assets.metadata import (
    check_results,
    check_specs,
    checks_of,
    column_schema,
    finding_result,
    published_metadata,
    update_metadata,
)
from pipelines.models.model import Check, Model, ModelError
from pipelines.resources import WarehouseResource
from pipelines.warehouse.audit import AuditError
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.sources import source_of

PUBLISHED = "published_warehouse"
LISTED = "landed_listed"

_NO_DESCRIPTION = "Begin `sql/{}/{}.sql` with `-- One row per ...`, and it is said here and in the database."

Result = dg.MaterializeResult[None] | dg.AssetCheckResult


_LANDED = {
    "landed_events": (EVENT_SCHEMA, "Webhook deliveries, as the receiver stored them."),
    "landed_pca": (ANSWER_SCHEMA, "Attempts to fetch post-call analyses, with their raw answers."),
    "landed_calls": (ANSWER_SCHEMA, "Attempts to fetch call details, with their raw answers."),
    "landed_agents": (
        ANSWER_SCHEMA,
        "Attempts to fetch agents' PCA configurations, with their raw answers.",
    ),
    LISTED: (ANSWER_SCHEMA, "Calls as Verbex lists them, asked for anew, and the days read to their ends."),
}


def landed_assets() -> list[dg.AssetSpec]:
    """The zones of landing that the receiver and the fetch write and Dagster only reads."""
    return [landed_spec(name) for name in _LANDED if name != LISTED]


def landed_spec(name: str) -> dg.AssetSpec:
    """A zone of landing as the graph shows it."""
    schema, description = _LANDED[name]
    columns = [dg.TableColumn(field.name, str(field.type)) for field in schema]
    return dg.AssetSpec(
        name,
        group_name="landing",
        description=description,
        kinds={"parquet"},
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
    )


def model_assets(models: Sequence[Model], checks: Sequence[Check]) -> list[dg.AssetsDefinition]:
    """One asset for each model that is kept as a table."""
    tables = {model.table: model.name for model in models}
    return [
        _model_asset(model, sorted(_upstream_assets(model, tables)), checks_of(model, checks))
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
        try:
            path = warehouse.publish()
        except WarehouseBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return dg.MaterializeResult(metadata=published_metadata(path, warehouse.status()))

    return published


def _model_asset(model: Model, upstream: Sequence[str], checks: Sequence[Check]) -> dg.AssetsDefinition:
    @dg.asset(
        name=model.name,
        deps=upstream,
        group_name=model.folder,
        kinds={"duckdb", "sql"},
        description=model.description or _NO_DESCRIPTION.format(model.folder, model.name),
        code_version=model.fingerprint,
        metadata={
            "dagster/column_schema": column_schema(model.columns),
            "dagster/relation_identifier": model.table,
        },
        check_specs=check_specs(model, checks),
    )
    def table(warehouse: WarehouseResource) -> Iterator[Result]:
        try:
            sync = warehouse.sync()
            update = sync.update(model)
            findings = sync.inspect(model, checks)
        except WarehouseBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        except AuditError as error:
            yield finding_result(error.finding)
            raise dg.Failure(str(error), allow_retries=False) from None
        except ModelError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        facts = sync.facts(model, datetime.now(UTC))
        yield dg.MaterializeResult(metadata=update_metadata(model, update, facts))
        yield from check_results(model, checks, update, findings)

    return table


def _upstream_assets(model: Model, tables: dict[str, str]) -> Iterator[str]:
    yield from (tables[name] for name in model.upstream if name in tables)
    if source := source_of(model):
        yield source.asset
