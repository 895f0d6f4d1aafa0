"""What Verbex is to be asked for, or may be asked for again, as the published tables know it.

Reading it belongs here; the rule stands in `sql/queries/`, and the asking is `connector.fetch`'s.
"""

from datetime import UTC, datetime
from typing import Any

from connector.fetch.calls import FETCHED_ZONES, Due
from connector.landing.zones import AGENTS, Zone
from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder


def list_due(folder: DataFolder, zone: Zone, as_of: datetime) -> list[Due]:
    """The calls or agents due in `zone` at `as_of`, longest due first; none while nothing is published."""
    return _list(folder, f"{zone.name}_due", as_of=as_of.astimezone(UTC).replace(tzinfo=None))


def list_unavailable(folder: DataFolder, zone: Zone, span: Span) -> list[Due]:
    """The calls of `span` that are unavailable in `zone`, longest due first; none if nothing is published."""
    if zone is AGENTS:
        return []  # each is asked for every day in any case
    return _list(folder, f"{zone.name}_unavailable", **span.parameters())


def count_due(folder: DataFolder, as_of: datetime) -> int:
    """How many answers are due at `as_of`, over all zones."""
    return sum(len(list_due(folder, zone, as_of)) for zone in FETCHED_ZONES)


def _list(folder: DataFolder, query: str, **parameters: object) -> list[Due]:
    rows: tuple[Any, ...] = folder.query(query, **parameters).rows
    return [
        Due(call_id=call_id, agent_id=agent_id, due_since=since.replace(tzinfo=UTC), attempts=attempts)
        for call_id, agent_id, since, attempts in rows
    ]
