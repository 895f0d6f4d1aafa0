"""Bars for counts over time, as numbers that SVG draws.

How they look does not belong here: see `templates/macros.html`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pipelines.live.published import Row

_WIDTH = 4
HEIGHT = 100


class Bar(NamedTuple):
    """A bar that is not empty: its place, and what it says."""

    x: int
    y: float
    height: float
    label: str
    calls: int


@dataclass(frozen=True)
class Chart:
    """Bars over a width, the highest of which is `HEIGHT`, and the times at the begin, middle and end."""

    width: int
    most: int
    bars: tuple[Bar, ...]
    times: tuple[str, ...]


def draw(rows: Sequence[Row], write: Callable[[datetime], str]) -> Chart:
    """Return the chart of rows with `begins_at` and `calls`, at least one, each of which is a bar."""
    most = max(1, *(row["calls"] for row in rows))
    bars = tuple(
        Bar(
            x=number * _WIDTH,
            y=round(HEIGHT - (height := HEIGHT * row["calls"] / most), 1),
            height=round(height, 1),
            label=write(row["begins_at"]),
            calls=row["calls"],
        )
        for number, row in enumerate(rows)
        if row["calls"]
    )
    times = tuple(write(rows[place]["begins_at"]) for place in (0, len(rows) // 2, -1))
    return Chart(len(rows) * _WIDTH, most, bars, times)
