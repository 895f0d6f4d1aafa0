"""What Dagster loads: the graph from landing to the published file, its jobs and its sensors.

Only putting together belongs here. Tests build the same definitions with other settings.
"""

import dagster as dg

from connector.fetch.listing import Progress
from connector.settings import Settings, load_settings
from pipelines.assets.compacted import COMPACT_JOB, COMPACTION, compaction_asset, compaction_schedule
from pipelines.assets.tables import LISTED, landed_assets, model_assets, published_asset
from pipelines.enrichment.fetch import ANSWERS, answers_asset
from pipelines.models.model import load_checks, load_models
from pipelines.reconciliation.comparison import (
    AGREEMENT,
    BACKFILL_JOB,
    VERIFY_JOB,
    agreement_asset,
    proof_schedules,
)
from pipelines.reconciliation.sweep import SWEEP, listed_asset
from pipelines.resources import WarehouseResource
from pipelines.sensors import due_sensor, landing_sensor, retention_sensor

LOAD_JOB = "load"
FETCH_JOB = "fetch"

_listed, _answers, _agreement, _compaction = (
    dg.AssetSelection.assets(name) for name in (LISTED, ANSWERS, AGREEMENT, COMPACTION)
)
_tables = dg.AssetSelection.all() - _listed - _answers - _agreement - _compaction

JOBS = (
    dg.define_asset_job(LOAD_JOB, _tables, description="Brings what landed into every table, and publishes."),
    dg.define_asset_job(FETCH_JOB, _answers, description="Asks Verbex for what is due."),
    dg.define_asset_job(
        VERIFY_JOB,
        _listed | _tables | _agreement,
        description="Compares our calls with Verbex's own list; by default those of yesterday and today.",
    ),
    dg.define_asset_job(
        BACKFILL_JOB,
        _listed | _tables,
        config={"ops": {SWEEP: {"config": {"is_backfill": True}}}},
        description="Takes in from Verbex's own list what no webhook told; by default yesterday and today.",
    ),
    dg.define_asset_job(COMPACT_JOB, _compaction, description="Merges closed days' small files."),
)
"""Loading and fetching are apart, so that a slow API never delays a call's row. Verifying and backfilling ask
first and load then, so that one run shows what was found."""


def build_definitions(
    settings: Settings, warehouse: WarehouseResource | None = None, progress: Progress | None = None
) -> dg.Definitions:
    """Everything that Dagster needs to know.

    Args:
        settings: Where things are, and how to ask Verbex.
        warehouse: What to write to; by default the one that the settings describe.
        progress: Told how many days of Verbex's list are read, and of how many.

    Raises:
        ModelError: A file of SQL can't be used.
    """
    warehouse = warehouse or WarehouseResource.from_settings(settings)
    models, checks = load_models(warehouse.sql), load_checks(warehouse.sql)
    return dg.Definitions(
        assets=[
            *landed_assets(),
            listed_asset(settings, progress),
            *model_assets(models, checks),
            published_asset(models),
            answers_asset(settings),
            agreement_asset(),
            compaction_asset(),
        ],
        jobs=JOBS,
        schedules=[compaction_schedule(), *proof_schedules(has_api_key=settings.api_key is not None)],
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
