"""The asset of the published file, which readers open.

What it shows belongs here. How the warehouse files take turns does not: see `pipelines.warehouse.files`.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from connector.errors import OperatorError
from pipelines.assets.metadata import Result, journal_check_spec, journal_result, published_metadata
from pipelines.models.model import Model
from pipelines.names import PUBLISHED
from pipelines.resources import WarehouseResource

logger = logging.getLogger(__name__)


def published_asset(models: Sequence[Model]) -> dg.AssetsDefinition:
    """Build the asset of the published file, which is replaced once every table is up to date."""
    # A table that another one reads is done before that one, so the graph needs no second dependency.
    read = {table for model in models for table in model.upstream}

    @dg.asset(
        name=PUBLISHED,
        deps=[model.name for model in models if model.table not in read],
        group_name="publish",
        kinds={"duckdb"},
        description="The tables as readers see them: `warehouse.duckdb`, replaced in one atomic step.",
        check_specs=[journal_check_spec()],
    )
    def published(warehouse: dg.ResourceParam[WarehouseResource]) -> Iterator[Result]:
        try:
            session = warehouse.session()
            path = warehouse.publish()
        except OperatorError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        yield dg.MaterializeResult(metadata=published_metadata(path, warehouse.folder.status()))
        yield journal_result(warehouse.folder.damaged_segments())
        if reasons := [*map(str, session.held_back.values()), *session.unusable]:
            raise dg.Failure("\n".join(reasons), allow_retries=False)

    return published


def publish_the_rest(
    warehouse: WarehouseResource, instance: dg.DagsterInstance, tables: Collection[str]
) -> None:
    """Publish at the end of a run in which a table failed, because Dagster skips all steps after that one.

    Nothing is published if one of `tables`, those of the run, was not tried, as when the run is interrupted.
    """
    session = warehouse.session()
    if not session.is_done(tables):
        return
    try:
        path = warehouse.publish()
    except OperatorError as error:
        logger.warning("Nothing was published: %s", error)
        return
    metadata = published_metadata(path, warehouse.folder.status())
    instance.report_runless_asset_event(dg.AssetMaterialization(PUBLISHED, metadata=metadata))


def was_published_since(instance: dg.DagsterInstance, since: datetime) -> bool:
    """Return whether tables were published at or after `since`."""
    event = instance.get_latest_materialization_event(dg.AssetKey(PUBLISHED))
    return event is not None and datetime.fromtimestamp(event.timestamp, UTC) >= since
