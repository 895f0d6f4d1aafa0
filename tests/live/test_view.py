"""The periods of a view: right in every zone, at every moment, also on days on which clocks are set."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.live.view import View, ViewError, periods_of

ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
MOMENTS = st.floats(946_684_800, 4_102_444_800).map(lambda at_s: datetime.fromtimestamp(at_s, UTC))


@given(MOMENTS, ZONES)
def test_the_day_so_far_is_compared_with_the_same_hours_of_the_days_before(now: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    today, *before = periods_of(View(), now, zone).compared
    assert today.since.astimezone(zone).date() == now.astimezone(zone).date()
    assert today.until == now
    for period, days in zip(before, (1, 7), strict=True):
        assert today.since.astimezone(zone).date() - period.since.astimezone(zone).date() == timedelta(days)
        assert (period.until - period.since) - (today.until - today.since) in {
            timedelta(minutes=minutes) for minutes in (-60, -30, 0, 30, 60)
        }


@given(MOMENTS, ZONES)
def test_the_charts_end_now_and_begin_on_a_whole_minute_and_a_whole_local_hour(
    now: datetime, name: str
) -> None:
    zone = ZoneInfo(name)
    periods = periods_of(View(), now, zone)
    assert periods.minutes.until - periods.minutes.since == timedelta(hours=3)
    assert timedelta() < periods.minutes.until - now <= timedelta(minutes=1)
    assert periods.hours.since.astimezone(zone).time().minute % 30 == 0
    assert timedelta() < periods.hours.until - now <= timedelta(hours=1, minutes=30)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-07-01", 24)])
def test_a_day_that_is_over_is_shown_whole(day: str, hours: int) -> None:
    """In New York clocks are set forward on 8 March and back on 1 November."""
    zone = ZoneInfo("America/New_York")
    now = datetime(2026, 12, 24, 12, tzinfo=UTC)
    shown = periods_of(View.of({"day": day}), now, zone).compared[0]
    assert shown.since == datetime.combine(date.fromisoformat(day), time(), zone)
    assert shown.until - shown.since + timedelta(microseconds=1) == timedelta(hours=hours)


@pytest.mark.parametrize("day", ["tomorrow", "2026-02-30", "9999-12-31", "0001-01-01", "<b>", "2026-1-1"])
def test_a_day_that_is_none_is_refused_with_an_example(day: str) -> None:
    with pytest.raises(ViewError, match=r"\w"):
        View.of({"day": day})
