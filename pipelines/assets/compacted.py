"""The asset that keeps landing in few files: closed days' small files become large ones, once a day.

When it runs and what it tells belongs here. How it is safe against readers and kills is
`connector.landing.compaction`'s.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from connector.landing.compaction import compact
from connector.landing.files import EVENTS_ZONE
from connector.landing.zones import ANSWER_SCHEMA, EVENT_SCHEMA
from pipelines.assets.tables import Result
from pipelines.resources import WarehouseResource
from pipelines.warehouse.sources import SOURCES

COMPACTION = "compacted_landing"
COMPACT_JOB = "compact"

# Whatever is loaded grows. Whole rows are merged, not the columns only that a source reads of them.
_ZONES = {source.zone: EVENT_SCHEMA if source.zone == EVENTS_ZONE else ANSWER_SCHEMA for source in SOURCES}
# A receiver that was down seals what it held into the day it was received, so a day is left alone at first.
_REST = timedelta(days=1)


def compaction_asset() -> dg.AssetsDefinition:
    """Landing with its closed days' small files merged."""

    @dg.asset(
        name=COMPACTION,
        deps=sorted({source.asset for source in SOURCES}),
        group_name="landing",
        kinds={"parquet"},
        description="Small files of days that are over, merged; readers see the same rows all the while.",
    )
    def compacted(warehouse: WarehouseResource) -> Iterator[Result]:
        before = (datetime.now(UTC) - _REST).date()
        merged = sum(compact(warehouse.landing, *zone, before=before) for zone in _ZONES.items())
        yield dg.MaterializeResult(metadata={"files_merged": merged})

    return compacted


def compaction_schedule() -> dg.ScheduleDefinition:
    """Compaction at night, UTC."""
    return dg.ScheduleDefinition(
        name="nightly_compaction",
        job_name=COMPACT_JOB,
        cron_schedule="17 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Merges the small files of days that are over.",
    )
