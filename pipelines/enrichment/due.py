"""What Verbex is to be asked for, or may be asked for again, as the published warehouse knows it.

Reading it belongs here; the rule stands in `sql/queries/`, and the asking is `connector.fetch.calls`'s.
"""

from datetime import UTC, datetime
from typing import Any

from connector.fetch.calls import Due
from connector.landing.files import AGENTS_ZONE, CALLS_ZONE, PCA_ZONE
from pipelines.enrichment.span import Span
from pipelines.models.model import read_query
from pipelines.resources import WarehouseResource
from pipelines.warehouse.files import NothingPublishedError

ZONES = (PCA_ZONE, CALLS_ZONE, AGENTS_ZONE)
"""The zones that are filled by asking, each with its query `<zone>_due`."""

_ZONES_GIVING_UP = (PCA_ZONE, CALLS_ZONE)
# Each with its query `<zone>_unavailable`. Agents are asked for every day anyhow.


def list_due(warehouse: WarehouseResource, zone: str, as_of: datetime) -> list[Due]:
    """The calls or agents due in `zone` at `as_of`, longest due first; none while nothing is published."""
    return _list(warehouse, f"{zone}_due", {"as_of": as_of.astimezone(UTC).replace(tzinfo=None)})


def list_unavailable(warehouse: WarehouseResource, zone: str, span: Span) -> list[Due]:
    """The calls of `span` given up in `zone`, longest due first; none while nothing is published."""
    if zone not in _ZONES_GIVING_UP:
        return []
    chosen = {"since": span.since, "until": span.until, "agent_ids": list(span.agent_ids)}
    return _list(warehouse, f"{zone}_unavailable", chosen)


def count_due(warehouse: WarehouseResource, as_of: datetime) -> int:
    """How many answers are due at `as_of`, over all zones."""
    return sum(len(list_due(warehouse, zone, as_of)) for zone in ZONES)


def _list(warehouse: WarehouseResource, query: str, parameters: dict[str, Any]) -> list[Due]:
    try:
        with warehouse.read() as connection:
            rows = connection.execute(read_query(warehouse.sql, query), parameters).fetchall()
    except NothingPublishedError:
        return []
    return [
        Due(call_id=call_id, agent_id=agent_id, due_since=since.replace(tzinfo=UTC), attempts=attempts)
        for call_id, agent_id, since, attempts in rows
    ]
