"""The hours of the day in which a rule leaves people alone, and how often it may act.

Only this arithmetic belongs here. Which rule has which limits does not: see `pipelines.models.rule`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

_HOURS = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)\s+(\S+)")
_LIMIT = re.compile(r"(\d+) per (minute|hour|day)")
_PERIODS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True)
class QuietHours:
    """From `begin` to `end`, every day, as the clocks in `zone` show them; over midnight if `end` is earlier.

    `begin` itself is quiet and `end` is not. Where clocks are set forward over `end`, they end at that
    moment; where an hour comes twice, both are judged by what the clock shows.
    """

    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as `21:00-08:00 Asia/Tokyo`.

        Raises:
            ValueError: It says no such hours. The message says how to write them.
        """
        found = _HOURS.fullmatch(text)
        if not found or found[5] not in available_timezones():
            raise ValueError("write hours and a time zone, such as 21:00-08:00 Asia/Tokyo")
        try:
            begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        except ValueError:
            raise ValueError("hours are from 00:00 to 23:59") from None
        if begin == end:
            raise ValueError("they begin when they end, so it is not clear if that is never or always")
        return cls(begin, end, ZoneInfo(found[5]))

    def is_quiet(self, at: datetime) -> bool:
        """Return whether `at`, UTC, is within them."""
        shown = at.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= shown < self.end
        return shown >= self.begin or shown < self.end

    def next_open(self, at: datetime) -> datetime:
        """Return the earliest time from `at` on, UTC, that is not within them."""
        while self.is_quiet(at):
            at = self._next_change(at)
        return at

    def _next_change(self, at: datetime) -> datetime:
        """Return the next moment at which the clock shows `end`, or at which it is set forward or back."""
        local = at.astimezone(self.zone)
        shown_end = local.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0, fold=0)
        if shown_end.replace(tzinfo=None) <= local.replace(tzinfo=None):
            shown_end += timedelta(days=1)
        # by the offset of now, which is right unless clocks are set in between
        candidate = at + (shown_end.replace(tzinfo=None) - local.replace(tzinfo=None))
        if self._offset(candidate) == self._offset(at):
            return candidate.astimezone(UTC)
        return min(candidate, self._when_set(at, candidate)).astimezone(UTC)

    def _when_set(self, before: datetime, after: datetime) -> datetime:
        """Return the second at which clocks are set between two moments with other offsets."""
        while after - before > timedelta(seconds=1):
            middle = before + (after - before) / 2
            before, after = (
                (middle, after) if self._offset(middle) == self._offset(before) else (before, middle)
            )
        return after.replace(microsecond=0)

    def _offset(self, at: datetime) -> timedelta | None:
        return at.astimezone(self.zone).utcoffset()


@dataclass(frozen=True)
class Limit:
    """At most `count` attempts in any `period`."""

    count: int
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as `100 per hour`.

        Raises:
            ValueError: It says no limit. The message says how to write one.
        """
        found = _LIMIT.fullmatch(text)
        if not found or not int(found[1]):
            raise ValueError("write a limit such as 100 per hour; periods are minute, hour and day")
        return cls(int(found[1]), _PERIODS[found[2]])
