"""One asset for each SQL model: what its table is, and what an update did to it.

The assets belong here. Updating a table does not: see `pipelines.warehouse.session`. Its metadata does not
either: see `pipelines.assets.metadata`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from connector.errors import OperatorError
from pipelines.assets.metadata import (
    Result,
    check_results,
    check_specs,
    checks_of,
    column_schema,
    finding_result,
    update_metadata,
)
from pipelines.assets.published import publish_the_rest
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import ModelError
from pipelines.names import PUBLISHED
from pipelines.resources import WarehouseResource
from pipelines.warehouse.audit import AuditError
from pipelines.warehouse.intake import MissingFilesError
from pipelines.warehouse.sources import source_of

_NOT_IN_A_GROUP = re.compile(r"[^A-Za-z0-9_]")  # what Dagster refuses, and a folder may have
_NO_DESCRIPTION = "Begin `{}` with `-- One row per ...` to show it here and in the database."


def model_assets(models: Sequence[Model], checks: Sequence[Check]) -> list[dg.AssetsDefinition]:
    """Build one asset for each model that is kept as a table."""
    tables = {model.table: model.name for model in models}
    return [
        _model_asset(model, sorted(_upstream_assets(model, tables)), checks_of(model, checks))
        for model in models
    ]


def _model_asset(model: Model, upstream: Sequence[str], checks: Sequence[Check]) -> dg.AssetsDefinition:
    @dg.asset(
        name=model.name,
        deps=upstream,
        group_name=_NOT_IN_A_GROUP.sub("_", model.folder),
        kinds={"duckdb", "sql"},
        description=model.description or _NO_DESCRIPTION.format(model.where()),
        code_version=model.fingerprint,
        metadata={
            "dagster/column_schema": column_schema(model.columns),
            "dagster/relation_identifier": model.table,
        },
        check_specs=check_specs(model, checks),
    )
    def table(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> Iterator[Result]:
        try:
            session = warehouse.session()
        except OperatorError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        try:
            update = session.update(model)
            findings = session.inspect(model, checks, datetime.now(UTC))
        except MissingFilesError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        except AuditError as error:
            _publish_at_end(context, warehouse)
            yield finding_result(error.finding)
            raise dg.Failure(str(error), allow_retries=False) from None
        except ModelError as error:
            _publish_at_end(context, warehouse)
            raise dg.Failure(str(error), allow_retries=False) from error
        lag_s = session.measure_lag(model, datetime.now(UTC))
        metadata = update_metadata(model, update, lag_s, session.describe_columns(model))
        yield dg.MaterializeResult(metadata=metadata)
        yield from check_results(model, checks, update, findings)

    return table


def _publish_at_end(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> None:
    """Let the run publish the other tables, if it was to publish at all."""
    selected = context.run.asset_selection or None  # nothing is named in a run of a whole job
    if selected is not None and dg.AssetKey(PUBLISHED) not in selected:
        return
    models = warehouse.session().models
    tables = [m.table for m in models if selected is None or dg.AssetKey(m.name) in selected]
    warehouse.at_end = partial(publish_the_rest, warehouse, context.instance, tables)


def _upstream_assets(model: Model, tables: dict[str, str]) -> Iterator[str]:
    yield from (tables[name] for name in model.upstream if name in tables)
    if source := source_of(model):
        yield source.zone.relation
