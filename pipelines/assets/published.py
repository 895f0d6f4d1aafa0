"""The asset of the published file, which readers open.

What it shows belongs here. How the warehouse files take turns does not: see `pipelines.warehouse.files`.
"""

from collections.abc import Sequence

import dagster as dg

from pipelines.assets.metadata import published_metadata
from pipelines.models.model import Model
from pipelines.names import PUBLISHED
from pipelines.resources import WarehouseResource
from pipelines.warehouse.files import WarehouseBusyError
from pipelines.warehouse.intake import MissingFilesError


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
    )
    def published(warehouse: dg.ResourceParam[WarehouseResource]) -> dg.MaterializeResult[None]:
        try:
            path = warehouse.publish()
        except (WarehouseBusyError, MissingFilesError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return dg.MaterializeResult(metadata=published_metadata(path, warehouse.folder.status()))

    return published
