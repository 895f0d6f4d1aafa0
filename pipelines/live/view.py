"""What a page shows: the agent and the day in its address, and the periods that follow from them.

Periods are cut in the time zone of the tables. Asking for their numbers does not belong here: see
`pipelines.live.board`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MINUTE_S = 60
HOUR_S = 3600
_MINUTES_SHOWN = 180
_DAYS_SHOWN = 7


class ViewError(ValueError):
    """An address that names no view. The message is for the reader."""


@dataclass(frozen=True)
class Period:
    """From `since` to before `until`, with a name for people."""

    name: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class View:
    """The main page: of all agents or one, as of now or of the end of a day."""

    agent_id: str | None = None
    day: date | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "View":
        """Return the view that an address names.

        Raises:
            ViewError: Its day is none.
        """
        written = query.get("day", "")
        try:
            day = date.fromisoformat(written) if written else None
        except ValueError:
            raise ViewError(f"{written[:40]!r} is no day. Write one like 2026-01-31.") from None
        if day and not 1970 <= day.year <= 9000:
            raise ViewError(f"No tables reach to {day}.")
        return cls(query.get("agent") or None, day)

    def as_query(self) -> dict[str, str]:
        """Return what the address of this view names."""
        named = {"agent": self.agent_id or "", "day": str(self.day or "")}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Periods:
    """The periods of a view.

    Attributes:
        compared: The day so far, and the same hours of the day before and of a week before.
        minutes: The last three hours, from a whole minute.
        hours: The last seven days, from a whole local hour.
    """

    compared: tuple[Period, ...]
    minutes: Period
    hours: Period


def periods_of(view: View, now: datetime, zone: ZoneInfo) -> Periods:
    """Return the periods of a view at `now`.

    Of a day that is over, the same hours are all its hours. On a day on which clocks are set, the same hours
    end at the same time of day.
    """
    local = now.astimezone(zone)
    today = local.date()
    day = view.day or today
    time_of_day = local.time() if day == today else time.max
    until = _at(day, time_of_day, zone) if day <= today else _at(day, time.min, zone)
    names = ("Today" if day == today else f"{day:%a} {day}", "Day before", "Week before")
    compared = tuple(
        Period(name, _at(each, time.min, zone), _at(each, time_of_day, zone))
        for name, back in zip(names, (0, 1, 7), strict=True)
        for each in (day - timedelta(days=back),)
    )
    minute = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    hour = until.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    return Periods(
        compared,
        Period("Calls per minute", minute - timedelta(minutes=_MINUTES_SHOWN), minute),
        Period("Calls per hour", hour - timedelta(days=_DAYS_SHOWN), hour + timedelta(hours=1)),
    )


def _at(day: date, time_of_day: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time_of_day, zone).astimezone(UTC)
