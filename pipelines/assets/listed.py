"""The asset that reads Verbex's own list of calls, and lands it.

The configuration of a run, and what the run shows, belong here. Reading the list does not: see
`pipelines.reconciliation.sweep`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from connector.errors import OperatorError
from connector.landing.zones import LISTED
from connector.settings import Settings
from connector.system.progress import Progress, no_progress
from pipelines.assets.api_key import key_check, key_result
from pipelines.assets.landed import landed_spec
from pipelines.assets.metadata import Result
from pipelines.assets.span_config import SpanConfig
from pipelines.enrichment.span import Span
from pipelines.names import SWEEP
from pipelines.reconciliation.sweep import Swept, sweep_span
from pipelines.resources import WarehouseResource


class SweepConfig(SpanConfig):
    """The configuration of a sweep of Verbex's list."""

    since: str = Field("", description="First day, such as 2025-11-30. Empty for yesterday.")
    until: str = Field("", description="Last day. Empty for today.")
    is_backfill: bool = Field(False, description="Whether to load the listed calls into our tables.")


def listed_asset(settings: Settings, progress: Progress = no_progress) -> dg.AssetsDefinition:
    """Build the asset of Verbex's own list of calls."""

    @dg.multi_asset(
        name=SWEEP,
        specs=[landed_spec(LISTED)],
        check_specs=[key_check(LISTED.relation)],
        # It runs before any step that loads: a load locks the warehouse, and must find what this step landed.
        op_tags={"dagster/priority": "1"},
    )
    def listed(
        context: dg.AssetExecutionContext, config: SweepConfig, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> Iterator[Result]:
        swept = Swept()
        try:
            today = datetime.now(ZoneInfo(settings.time_zone)).date()
            span = config.span(default=Span(today - timedelta(days=1), today))
            if settings.api_key is not None:
                swept = sweep_span(
                    settings, warehouse.folder, span, is_backfill=config.is_backfill, progress=progress
                )
        except (ValueError, OperatorError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info("%s to %s: %s", span.since, span.until, swept)
        days = {"since": str(span.since), "until": str(span.until)}
        yield dg.MaterializeResult(asset_key=LISTED.relation, metadata=days | vars(swept))
        yield key_result(LISTED.relation, settings)

    return listed
