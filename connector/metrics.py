"""What the receiver counts and measures, for Prometheus.

Names, units and help texts belong here; the other modules only say that something happened.
"""

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from connector.auth import VerifiedBy

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one receiver process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        stored = Counter(
            "verbex_deliveries_stored",
            "Deliveries durably stored, by how they were verified and whether they could be read.",
            ["verified_by", "is_event"],
            registry=self._registry,
        )
        self.refused = Counter(
            "verbex_deliveries_refused", "Deliveries refused, by reason.", ["reason"], registry=self._registry
        )

        # Looking up a labelled counter costs more than counting.
        self._stored = {
            (verified_by, is_event): stored.labels(verified_by, str(is_event).lower())
            for verified_by in ("signature", "token", "unsigned")
            for is_event in (True, False)
        }

    def count_stored(self, verified_by: VerifiedBy, *, is_event: bool) -> None:
        """Count a delivery that is durable."""
        self._stored[verified_by, is_event].inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
