"""One asset for each target of exports: what its newest export wrote, and how far behind it was.

The assets and their metadata belong here. Exporting does not: see `pipelines.exports.export`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from connector.errors import OperatorError
from connector.settings import Settings
from connector.system.lock import PATIENCE_S
from pipelines.assets.metadata import Result
from pipelines.exports.address import Address, name_targets
from pipelines.exports.export import Exported, export
from pipelines.names import EXPORT_GROUP, PUBLISHED
from pipelines.resources import WarehouseResource

_AGAIN = "*/5 * * * *"


def exported_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Build an asset for each target that the settings name."""
    names = name_targets(each.get_secret_value() for each in settings.exports)
    return [_exported_asset(url, name) for url, name in names.items()]


def exported_metadata(exports: Sequence[Exported], address: Address, at: datetime) -> dict[str, float | str]:
    """Return the counts of one or several exports to a target, and its lag at `at`, as numbers to plot."""
    newest = exports[-1]
    return {
        "target": str(address),
        "publish": newest.publish.number,
        "rows_written": sum(each.rows_written for each in exports),
        "rows_deleted": sum(each.rows_deleted for each in exports),
        "duration_s": sum(each.duration_s for each in exports),
        "lag_s": max(0.0, (at - newest.publish.published_at).total_seconds()),  # a clock may go back
        "tables_compared_whole": ", ".join(newest.compared_whole),
    }


def _exported_asset(url: str, name: str) -> dg.AssetsDefinition:
    address = Address(url)
    again = dg.AutomationCondition.execution_failed() & dg.AutomationCondition.cron_tick_passed(_AGAIN)

    @dg.asset(
        name=name,
        deps=[PUBLISHED],
        group_name=EXPORT_GROUP,
        kinds={address.kind},
        description=f"The published tables in {address}: after each publish, what changed is written there.",
        automation_condition=dg.AutomationCondition.eager() | again,
    )
    def exported(warehouse: dg.ResourceParam[WarehouseResource]) -> Iterator[Result]:
        try:
            done = export(warehouse.folder, url, wait_s=PATIENCE_S)
        except OperatorError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        yield dg.MaterializeResult(metadata=exported_metadata([done], address, datetime.now(UTC)))

    return exported
