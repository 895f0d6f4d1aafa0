"""What Verbex is to be asked for, as the published warehouse knows it.

Reading it belongs here; the rule stands in `sql/queries/`, and the asking is `connector.fetch`'s.
"""

from datetime import UTC, datetime

from connector.fetch import Due
from connector.landing import AGENTS_ZONE, CALLS_ZONE, PCA_ZONE
from pipelines.models import read_query
from pipelines.resources import WarehouseResource
from pipelines.warehouse import NothingPublishedError

ZONES = (PCA_ZONE, CALLS_ZONE, AGENTS_ZONE)
"""The zones that are filled by asking, each with its query `<zone>_due`."""


def list_due(warehouse: WarehouseResource, zone: str, as_of: datetime) -> list[Due]:
    """The calls or agents due in `zone` at `as_of`, longest due first; none while nothing is published."""
    sql = read_query(warehouse.sql, f"{zone}_due")
    try:
        with warehouse.read() as connection:
            rows = connection.execute(sql, {"as_of": as_of.astimezone(UTC).replace(tzinfo=None)}).fetchall()
    except NothingPublishedError:
        return []
    return [
        Due(call_id=call_id, agent_id=agent_id, due_since=since.replace(tzinfo=UTC), attempts=attempts)
        for call_id, agent_id, since, attempts in rows
    ]


def count_due(warehouse: WarehouseResource, as_of: datetime) -> int:
    """How many answers are due at `as_of`, over all zones."""
    return sum(len(list_due(warehouse, zone, as_of)) for zone in ZONES)
