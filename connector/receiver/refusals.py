"""Deliveries without a right proof, one after the other: the sign that our own secret or clock is wrong.

Only their counting and the log line belong here. A receiver that refuses everything still answers, so nothing
else would say so. It stays ready: if refused requests could take it out of service, any client could do that.
"""

import logging

from connector.metrics import Metrics

logger = logging.getLogger(__name__)

_FIRST_LINE_AT = 10


class Refusals:
    """The number of deliveries without a right proof since the last one with a right proof."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._count = 0
        self._next_line_at = _FIRST_LINE_AT

    def add(self, reason: str) -> None:
        """Count one. Log a line for the tenth in a row, the hundredth, and so on."""
        self._count += 1
        self._metrics.refusals_in_a_row.set(self._count)
        # Its signature was right, so the sender is genuine, and one of the two clocks is wrong.
        is_clock = reason == "signature_expired" and self._count == 1
        if is_clock or self._count >= self._next_line_at:
            self._next_line_at = max(self._next_line_at, self._count) * (1 if is_clock else 10)
            logger.error(
                "Deliveries are refused, and none was accepted in between. Check VERBEX_WEBHOOK_SECRETS, "
                "VERBEX_WEBHOOK_TOKEN and this machine's clock",
                extra={"refused_in_a_row": self._count, "last_reason": reason},
            )

    def end(self) -> None:
        """Begin again, because a delivery had a right proof."""
        if self._count:
            self._count, self._next_line_at = 0, _FIRST_LINE_AT
            self._metrics.refusals_in_a_row.set(0)
