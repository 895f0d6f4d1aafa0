"""What Dagster loads: the graph from landing to the published file, its jobs and its sensors.

Only putting together belongs here. Tests build the same definitions with other settings.
"""

import dagster as dg

from connector.settings import Settings, load_settings
from pipelines.assets import landed_assets, model_assets, published_asset
from pipelines.compacting import COMPACT_JOB, COMPACTION, compaction_asset, compaction_schedule
from pipelines.fetching import ANSWERS, answers_asset
from pipelines.models import load_checks, load_models
from pipelines.resources import WarehouseResource
from pipelines.sensors import due_sensor, landing_sensor, retention_sensor

LOAD_JOB = "load"
FETCH_JOB = "fetch"


def build_definitions(settings: Settings, warehouse: WarehouseResource | None = None) -> dg.Definitions:
    """Everything that Dagster needs to know.

    Loading and fetching are two jobs, so that a slow API never delays a call's row.

    Args:
        settings: Where things are, and how to ask Verbex.
        warehouse: What to write to; by default the one that the settings describe.

    Raises:
        ModelError: A file of SQL can't be used.
    """
    warehouse = warehouse or WarehouseResource.from_settings(settings)
    models, checks = load_models(warehouse.sql), load_checks(warehouse.sql)
    answers = dg.AssetSelection.assets(ANSWERS)
    compaction = dg.AssetSelection.assets(COMPACTION)
    load = dg.define_asset_job(
        LOAD_JOB,
        dg.AssetSelection.all() - answers - compaction,
        description="Brings what landed into every table, and publishes.",
    )
    fetch = dg.define_asset_job(FETCH_JOB, answers, description="Asks Verbex for what is due.")
    compact = dg.define_asset_job(COMPACT_JOB, compaction, description="Merges closed days' small files.")
    return dg.Definitions(
        assets=[
            *landed_assets(),
            *model_assets(models, checks),
            published_asset(models),
            answers_asset(settings),
            compaction_asset(),
        ],
        jobs=[load, fetch, compact],
        schedules=[compaction_schedule()],
        sensors=[
            landing_sensor(LOAD_JOB, models),
            due_sensor(FETCH_JOB, has_api_key=settings.api_key is not None),
            retention_sensor(),
        ],
        resources={"warehouse": warehouse},
        # DuckDB has one writing process; parallel steps would only wait for each other's lock.
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings())
