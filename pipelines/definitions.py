"""What Dagster loads: the graph from landing to the published file, its jobs and its sensors.

Only putting together belongs here. Tests build the same definitions with other settings.
"""

import dagster as dg

from connector.settings import Settings, load_settings
from pipelines.assets import landed_assets, model_assets, published_asset
from pipelines.fetching import ANSWERS, answers_asset
from pipelines.models import load_checks, load_models, sql_folder
from pipelines.resources import WarehouseResource
from pipelines.sensors import due_sensor, landing_sensor

LOAD_JOB = "load"
FETCH_JOB = "fetch"


def build_definitions(settings: Settings, *, is_full_refresh: bool = False) -> dg.Definitions:
    """Everything that Dagster needs to know, for one set of settings.

    Loading and fetching are two jobs, so that a slow API never delays a call's row.

    Args:
        settings: Where things are.
        is_full_refresh: Whether every load builds all tables anew from landing.

    Raises:
        ModelError: A file in `sql/` can't be used.
    """
    folder = sql_folder()
    models, checks = load_models(folder), load_checks(folder)
    answers = dg.AssetSelection.assets(ANSWERS)
    load = dg.define_asset_job(
        LOAD_JOB,
        dg.AssetSelection.all() - answers,
        description="Brings what landed into every table, and publishes.",
    )
    fetch = dg.define_asset_job(FETCH_JOB, answers, description="Asks Verbex for what is due.")
    return dg.Definitions(
        assets=[
            *landed_assets(),
            *model_assets(models, checks),
            published_asset(models),
            answers_asset(settings),
        ],
        jobs=[load, fetch],
        sensors=[
            landing_sensor(LOAD_JOB),
            due_sensor(FETCH_JOB, has_api_key=settings.api_key is not None),
        ],
        resources={
            "warehouse": WarehouseResource(
                data_dir=str(settings.data_dir),
                landing_url=settings.landing,
                is_full_refresh=is_full_refresh,
            )
        },
        # DuckDB has one writing process; parallel steps would only wait for each other's lock.
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings())
