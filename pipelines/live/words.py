"""Values as people read them: times of a zone, lengths of time, masked numbers, text cut short.

Which values are shown does not belong here: see the templates. Escaping does not either: templates do it.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NOTHING = "\N{EN DASH}"
_LONGEST_TEXT = 200
_DIGITS_SHOWN = 4
_PHONE_NUMBER = re.compile(r"\+?\d{7,}", re.ASCII)


@dataclass(frozen=True)
class Words:
    """How values are written on this page.

    Attributes:
        zone: The time zone of days and times.
        has_numbers: Whether phone numbers are shown whole.
    """

    zone: ZoneInfo
    has_numbers: bool = False

    def at(self, value: datetime | None) -> str:
        """Return a time of the zone to the second, such as `2026-01-31 14:05:09`."""
        return self._write(value, "%Y-%m-%d %H:%M:%S")

    def clock(self, value: datetime | None) -> str:
        """Return the time of day to the second."""
        return self._write(value, "%H:%M:%S")

    def minute(self, value: datetime) -> str:
        """Return the day of the week and the time of day to the minute."""
        return self._write(value, "%a %H:%M")

    def number(self, value: str | None) -> str:
        """Return a phone number, masked but for its last four digits unless numbers are shown."""
        if not value or self.has_numbers:
            return short(value)
        return f"…{value[-_DIGITS_SHOWN:]}" if len(value) > _DIGITS_SHOWN else "…"

    def reason(self, value: str | None) -> str:
        """Return why something was not done, with each phone number in it written as `number` does."""
        return _PHONE_NUMBER.sub(lambda found: self.number(found[0]), short(value))

    def _write(self, value: datetime | None, form: str) -> str:
        if value is None:
            return NOTHING
        try:
            return value.astimezone(self.zone).strftime(form)
        except OverflowError:  # the last hours of the year 9999, which are another year's in this zone
            return value.astimezone(UTC).strftime(f"{form} UTC")


def short(value: object) -> str:
    """Return text without characters that a page can't show, cut to a length that a line can hold."""
    if value is None or value == "":
        return NOTHING
    text = clean(str(value))
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def first_sentence(text: str) -> str:
    """Return a text up to its first full stop."""
    return f"{text.partition('. ')[0].rstrip('.')}."


def clean(value: object) -> str:
    """Return text with a sign in place of each control character but line breaks and tabs."""
    text = "" if value is None else str(value)
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"
        else char
        for char in text
    )


def duration(value_s: float | None) -> str:
    """Return a length of time such as `2:05` or `1:02:05`, in minutes and seconds; below a minute `45 s`."""
    if value_s is None:
        return NOTHING
    sign, seconds = ("-" if value_s < 0 else ""), round(abs(value_s))
    if seconds < 60:
        return f"{sign}{abs(value_s):.1f} s" if abs(value_s) < 10 else f"{sign}{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{seconds:02}" if hours else f"{sign}{minutes}:{seconds:02}"


def age(value: timedelta) -> str:
    """Return a length of time in its largest unit of which there are two, such as `14 minutes`."""
    seconds = max(0, round(value.total_seconds()))
    for name, length_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s} {name}"
    return f"{seconds} seconds"


def size(value_bytes: float) -> str:
    """Return a size with a unit, such as `3.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if value_bytes < 1000:
            return f"{value_bytes:.0f} bytes" if unit == "bytes" else f"{value_bytes:.1f} {unit}"
        value_bytes /= 1000
    return f"{value_bytes:.1f} TB"


def iso(value: datetime) -> str:
    """Return a time as programs read it, UTC."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds")
