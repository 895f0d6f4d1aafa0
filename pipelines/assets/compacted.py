"""The asset that keeps landing in few files: it merges the small files of closed and of crowded days.

What it shows belongs here. Merging safely, with readers and kills, does not: see
`connector.landing.compaction`. The time at which it runs does not either: see `pipelines.jobs`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from connector.landing.compaction import compact, compact_crowded
from connector.landing.zones import ZONES
from pipelines.assets.metadata import Result
from pipelines.names import COMPACTION
from pipelines.resources import WarehouseResource

# A receiver that was down seals old events into the day of their receipt, so a day is not merged at once.
_REST = timedelta(days=1)


def compaction_asset() -> dg.AssetsDefinition:
    """Build the asset that merges the small files of days that are closed, or hold very many."""

    @dg.asset(
        name=COMPACTION,
        deps=sorted(zone.relation for zone in ZONES),
        group_name="landing",
        kinds={"parquet"},
        description="Small files, merged by day. Readers see the same files and rows at all times.",
    )
    def compacted(warehouse: dg.ResourceParam[WarehouseResource]) -> Iterator[Result]:
        before = (datetime.now(UTC) - _REST).date()
        landing = warehouse.folder.landing
        merged = sum(compact(landing, zone, before=before) for zone in ZONES) + compact_crowded(landing)
        yield dg.MaterializeResult(metadata={"files_merged": merged})

    return compacted
