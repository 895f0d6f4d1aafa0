"""The zones of landing as the graph shows them: the receiver and the fetch write them, Dagster only reads.

Zones and their schemas are `connector.landing.zones`'s.
"""

import dagster as dg

from connector.landing.zones import LISTED, ZONES, Zone


def landed_assets() -> list[dg.AssetSpec]:
    """Every zone that no asset of ours writes."""
    return [landed_spec(zone) for zone in ZONES if zone is not LISTED]


def landed_spec(zone: Zone) -> dg.AssetSpec:
    """A zone of landing as the graph shows it."""
    columns = [dg.TableColumn(field.name, str(field.type)) for field in zone.schema]
    return dg.AssetSpec(
        zone.relation,
        group_name="landing",
        description=zone.description,
        kinds={"parquet"},
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
    )
