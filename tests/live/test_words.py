"""Values as people read them: every time that an event may have can be written, in every zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.live.words import Words

ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"]).map(ZoneInfo)


@given(st.datetimes(timezones=st.just(UTC)), ZONES)
def test_every_time_can_be_written(at: datetime, zone: ZoneInfo) -> None:
    words = Words(zone)
    assert words.clock(at) in words.at(at)
    assert words.minute(at)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC"])
def test_a_time_beyond_the_last_year_of_the_zone_is_written_in_utc(zone: str) -> None:
    written = Words(ZoneInfo(zone)).at(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert written.startswith("9999-12-31 23:59:59")
