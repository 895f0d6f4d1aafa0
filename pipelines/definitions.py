"""Everything that Dagster loads: the graph from landing to the published file, its jobs and its sensors.

Only putting these together belongs here. Tests build the same definitions with other settings.
"""

import dagster as dg

from connector.settings import Settings, load_settings
from connector.system.progress import Progress, no_progress
from pipelines.assets.acted import acted_assets
from pipelines.assets.agreement import agreement_asset
from pipelines.assets.answers import answers_asset
from pipelines.assets.compacted import compaction_asset
from pipelines.assets.exported import exported_assets
from pipelines.assets.landed import landed_assets
from pipelines.assets.listed import listed_asset
from pipelines.assets.published import published_asset
from pipelines.assets.tables import model_assets
from pipelines.failures import failure_sensor
from pipelines.jobs import ACT, EXPORT, JOBS, build_export_sensors, build_schedules
from pipelines.resources import WarehouseResource
from pipelines.sensors import action_sensor, crowded_sensor, due_sensor, landing_sensor, retention_sensor


def build_definitions(
    settings: Settings, warehouse: WarehouseResource | None = None, progress: Progress = no_progress
) -> dg.Definitions:
    """Build everything that Dagster loads.

    Args:
        settings: Where things are, and how to ask Verbex.
        warehouse: The tables to write. By default those that the settings describe.
        progress: Called with the number of days of Verbex's list that are read, and the number of all days.

    Raises:
        ModelError: A file of SQL can't be used.
    """
    warehouse = warehouse or WarehouseResource.from_settings(settings)
    sql = warehouse.folder.sql
    has_exports = bool(settings.exports)
    has_api_key = settings.api_key is not None
    return dg.Definitions(
        assets=[
            *landed_assets(),
            listed_asset(settings, progress),
            *model_assets(sql.models, sql.checks),
            published_asset(sql.models),
            answers_asset(settings),
            agreement_asset(),
            compaction_asset(),
            *exported_assets(settings),
            *acted_assets(settings, sql.models),
        ],
        jobs=[*JOBS, *([EXPORT] if has_exports else []), *([ACT] if settings.actions else [])],
        schedules=build_schedules(has_api_key=has_api_key),
        sensors=[
            landing_sensor(sql.models),
            due_sensor(has_api_key=has_api_key),
            crowded_sensor(),
            retention_sensor(),
            failure_sensor(settings),
            *build_export_sensors(has_exports=has_exports),
            *([action_sensor(settings)] if settings.actions else []),
        ],
        resources={"warehouse": warehouse.definition()},
        # Only one process can write a DuckDB file, so parallel steps would only wait for each other's lock.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return what Dagster loads by the name of this module. Commands build their own."""
    return build_definitions(load_settings())
