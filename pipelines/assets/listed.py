"""The asset that reads Verbex's own list of calls, as it lands.

Belongs here: what a run may ask for, and what it shows. The reading is `pipelines.reconciliation.sweep`'s.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

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
    """What a run asks for."""

    since: str = Field("", description="First UTC day, as 2025-11-30; empty for yesterday.")
    until: str = Field("", description="Last UTC day; empty for today.")
    is_backfill: bool = Field(False, description="Whether what is listed becomes part of our calls.")


def listed_asset(settings: Settings, progress: Progress = no_progress) -> dg.AssetsDefinition:
    """Verbex's own list of calls, as it lands."""

    @dg.multi_asset(
        name=SWEEP,
        specs=[landed_spec(LISTED)],
        check_specs=[key_check(LISTED.relation)],
        # Before any step that loads: a load holds the warehouse, and is to find what landed meanwhile.
        op_tags={"dagster/priority": "1"},
    )
    def listed(
        context: dg.AssetExecutionContext, config: SweepConfig, warehouse: WarehouseResource
    ) -> Iterator[Result]:
        swept = Swept()
        try:
            today = datetime.now(UTC).date()
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
