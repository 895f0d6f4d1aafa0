"""The hours in which a rule leaves people alone, in every time zone and over every change of clocks."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.quiet_hours import Limit, QuietHours

ZONES = st.sampled_from(
    ["UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]
)
START = datetime(2020, 1, 1, tzinfo=UTC)
# also the hours in which clocks are set
MOMENTS = st.one_of(
    st.timedeltas(timedelta(), timedelta(days=3650)).map(
        lambda past: datetime(2020, 1, 1, tzinfo=UTC) + past
    ),
    st.tuples(
        st.sampled_from(
            [datetime(2025, month, day, 1, tzinfo=UTC) for month, day in ((3, 30), (10, 26), (11, 2))]
        ),
        st.integers(-48, 48).map(lambda hours: timedelta(hours=hours)),
    ).map(lambda set_at: set_at[0] + set_at[1]),
)
TIMES = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))


@given(MOMENTS, TIMES, TIMES, ZONES)
def test_what_waits_for_their_end_goes_out_at_the_first_moment_that_is_not_quiet(
    at: datetime, begin: time, end: time, zone: str
) -> None:
    if begin == end:
        return
    hours = QuietHours(begin, end, ZoneInfo(zone))
    opened = hours.next_open(at)
    assert not hours.is_quiet(opened)
    assert opened >= at
    if hours.is_quiet(at):
        between = (at + timedelta(minutes=step) for step in range(int((opened - at).total_seconds() // 60)))
        assert all(hours.is_quiet(each) for each in between)
        assert hours.is_quiet(opened - timedelta(seconds=1))
    else:
        assert opened == at


@given(MOMENTS, TIMES, TIMES, ZONES)
def test_a_moment_is_quiet_if_the_clock_on_the_wall_says_so(
    at: datetime, begin: time, end: time, zone: str
) -> None:
    if begin == end:
        return
    shown = at.astimezone(ZoneInfo(zone)).time()
    inside = [begin <= shown < end] if begin < end else [begin <= shown, shown < end]
    assert QuietHours(begin, end, ZoneInfo(zone)).is_quiet(at) == any(inside)


def test_hours_and_limits_are_read_as_headers_write_them() -> None:
    assert QuietHours.parse("21:00-08:00 Asia/Tokyo") == QuietHours(time(21), time(8), ZoneInfo("Asia/Tokyo"))
    assert QuietHours.parse("9:30 - 10:00 UTC") == QuietHours(time(9, 30), time(10), ZoneInfo("UTC"))
    assert Limit.parse("100 per hour") == Limit(100, timedelta(hours=1))


@pytest.mark.parametrize(
    "text", ["", "21:00-08:00", "21:00-08:00 Tokyo", "25:00-08:00 UTC", "08:00-08:00 UTC", "21-8 UTC"]
)
def test_hours_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write hours|from 00:00|not clear"):
        QuietHours.parse(text)


@pytest.mark.parametrize("text", ["", "100", "0 per hour", "100 per week", "-1 per day", "many per hour"])
def test_limits_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a limit"):
        Limit.parse(text)
