"""The asset of the published file: what readers open, once every table is up to date.

How files take turns is `pipelines.warehouse.files`'s.
"""

from collections.abc import Sequence

import dagster as dg

from pipelines.assets.metadata import published_metadata
from pipelines.models.model import Model
from pipelines.names import PUBLISHED
from pipelines.resources import WarehouseResource
from pipelines.warehouse.files import WarehouseBusyError


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
        return dg.MaterializeResult(metadata=published_metadata(path, warehouse.folder.status()))

    return published
