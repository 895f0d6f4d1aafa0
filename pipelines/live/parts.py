"""The parts of each page as HTML: from the published tables, and from what is measured beside them.

Everything here runs in the reader's thread. When it is asked for does not belong here: see
`pipelines.live.updates`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from connector.errors import OperatorError
from pipelines.live.board import Part, build_board
from pipelines.live.call import build_call
from pipelines.live.checks import Checks
from pipelines.live.health import Health, Watch
from pipelines.live.pages import Pages
from pipelines.live.published import Reader, Row, Version
from pipelines.live.view import View

logger = logging.getLogger(__name__)

MAIN_PARTS = ("now", "period", "minutes", "hours", "agents", "events", "attention", "actions")
CALL_PARTS = ("call", "call_events", "call_messages", "call_items", "call_actions", "call_attempts")

_MEASURE_EVERY = timedelta(seconds=2)


@dataclass
class Parts:
    """Makes the parts of pages, with one reader, one watch and one set of checks for all of them."""

    reader: Reader
    watch: Watch
    pages: Pages
    _health: Health | None = None
    _measured: Version | None = None
    _checks: Checks = field(init=False)

    def __post_init__(self) -> None:
        """Let the checks use the same reader."""
        self._checks = Checks(self.reader)

    def of_view(self, view: View) -> dict[str, str]:
        """Return the parts of the main page."""

        def build(health: Health, now: datetime) -> Mapping[str, Part]:
            parts = build_board(self.reader, view, health, now, self.pages.words)
            self._checks.run_one(now)
            parts["attention"] |= {
                "findings": self._checks.findings(),
                "checked_at": self._checks.oldest(),
            }
            return parts

        return self._make(build, MAIN_PARTS)

    def of_call(self, call_id: str) -> dict[str, str]:
        """Return the parts of a call's page."""
        return self._make(lambda _health, _now: build_call(self.reader, call_id), CALL_PARTS)

    def agents(self) -> list[Row]:
        """Return the agents that a page offers to choose from, the most recent first."""
        try:
            self.reader.reopen()
            return self.reader.ask("live_known_agents")
        except OperatorError:
            return []

    def _make(
        self, build: Callable[[Health, datetime], Mapping[str, Part]], names: tuple[str, ...]
    ) -> dict[str, str]:
        now = datetime.now(UTC)
        health = Health(now)
        try:
            health = self._measure(now)
            self.reader.reopen()
            parts = self.pages.render_parts(build(health, now))
        except Exception as error:  # noqa: BLE001 - it is shown and logged
            parts = self.pages.render_nothing(names)
            warnings = dict.fromkeys((*health.warnings, _explained(error)))
            health = replace(health, warnings=tuple(warnings))
        return parts | self.pages.render_parts({"banner": {"health": health}, "health": {"health": health}})

    def _measure(self, now: datetime) -> Health:
        version, health = self.reader.version(), self._health
        if (
            health is None
            or version != self._measured
            or not _is_within(now - health.measured_at, _MEASURE_EVERY)
        ):
            self._health = health = self.watch.measure(self.reader, now)
            self._measured = version
        return health


def _explained(error: Exception) -> str:
    """Return what a page says that can't be made. Old numbers under the word "live" would be worse."""
    if isinstance(error, OperatorError):
        return str(error)
    logger.error("A page can't be made", exc_info=error)
    return f"This page can't be made ({type(error).__name__}). The log of the live page says why."


def _is_within(age: timedelta, limit: timedelta) -> bool:
    return timedelta() <= age < limit  # a clock that was set back ends it too
