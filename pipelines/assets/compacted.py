"""The asset that keeps landing in few files: closed days' small files become large ones.

What it shows belongs here. How merging is safe against readers and kills is `connector.landing.compaction`'s,
and when it runs is in `pipelines.jobs`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from connector.landing.compaction import compact
from connector.landing.zones import ZONES
from pipelines.assets.metadata import Result
from pipelines.names import COMPACTION
from pipelines.resources import WarehouseResource

# A receiver that was down seals what it held into the day it was received, so a day is left alone at first.
_REST = timedelta(days=1)


def compaction_asset() -> dg.AssetsDefinition:
    """Landing with its closed days' small files merged."""

    @dg.asset(
        name=COMPACTION,
        deps=sorted(zone.relation for zone in ZONES),
        group_name="landing",
        kinds={"parquet"},
        description="Small files of days that are over, merged; readers see the same rows all the while.",
    )
    def compacted(warehouse: WarehouseResource) -> Iterator[Result]:
        before = (datetime.now(UTC) - _REST).date()
        merged = sum(compact(warehouse.folder.landing, zone, before=before) for zone in ZONES)
        yield dg.MaterializeResult(metadata={"files_merged": merged})

    return compacted
