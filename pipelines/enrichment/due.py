"""What Verbex must be asked for, and may be asked for again, as the published tables show it.

Reading that belongs here. The rules do not: see `sql/queries/`. Asking does not either: see
`connector.fetch`.
"""

from datetime import datetime
from typing import Any

from connector.fetch.calls import FETCHED_ZONES, Due
from connector.landing.zones import AGENTS, Zone
from pipelines.enrichment.span import Span
from pipelines.warehouse.data_folder import DataFolder


def list_due(folder: DataFolder, zone: Zone, as_of: datetime) -> list[Due]:
    """Return what is due in `zone` at `as_of`, longest due first; empty if nothing is published."""
    return _list(folder, f"{zone.name}_due", as_of=as_of)


def list_unavailable(folder: DataFolder, zone: Zone, span: Span) -> list[Due]:
    """Return the calls of `span` unavailable in `zone`, longest due first; empty if nothing is published."""
    if zone is AGENTS:
        return []  # every agent is asked for every day anyway
    return _list(folder, f"{zone.name}_unavailable", **span.parameters())


def count_due(folder: DataFolder, as_of: datetime) -> int:
    """Return how many answers are due at `as_of`, in all zones together."""
    return sum(len(list_due(folder, zone, as_of)) for zone in FETCHED_ZONES)


def _list(folder: DataFolder, query: str, **parameters: object) -> list[Due]:
    rows: tuple[Any, ...] = folder.query(query, **parameters).rows
    return [
        Due(call_id, agent_id, since, attempts, attempts_ever, announcements)
        for call_id, agent_id, since, attempts, attempts_ever, announcements in rows
    ]
