"""The zones of landing as the graph shows them.

Their assets belong here. The zones and their schemas do not: see `connector.landing.zones`.
"""

import dagster as dg

from connector.landing.zones import LISTED, ZONES, Zone


def landed_assets() -> list[dg.AssetSpec]:
    """Build an asset for every zone but the list of calls: see `pipelines.assets.listed` for that one."""
    return [landed_spec(zone) for zone in ZONES if zone is not LISTED]


def landed_spec(zone: Zone) -> dg.AssetSpec:
    """Build the asset of one zone."""
    columns = [dg.TableColumn(field.name, str(field.type)) for field in zone.schema]
    return dg.AssetSpec(
        zone.relation,
        group_name="landing",
        description=zone.description,
        kinds={"parquet"},
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
    )
