"""Times are moments: `now()` is right beside them in every reader, and days are those of the settings."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from support.data_folder import DataFolder, body
from support.oracle import ENDED, STARTED

from connector.settings import SettingsError, load_settings
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.session import open_session

BODY_EPOCH_S = 1_762_600_000
"""The moment that the seconds of `body` count from."""

AGE = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
age = "select epoch(now() - started_at), started_at > now() - interval 2 hours from calls"
((age_s, is_right),) = connection.execute(age).fetchall()
((in_zone,),) = connection.execute("select strftime(started_at, '%z') from calls").fetchall()
print(duckdb.__version__, round(age_s / 3600), is_right, in_zone)
"""

PANDAS_AGE = """
import sys
import duckdb
import pandas as pd
connection = duckdb.connect(sys.argv[1], read_only=True)
began = connection.sql("select started_at from calls").df()["started_at"]
for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
    now = pd.Timestamp.now(zone)
    is_right = (began > now - pd.Timedelta(hours=2)).all()
    print(round((now - began[0]).total_seconds() / 3600), is_right, end=" ")
try:
    began > pd.Timestamp.now()
except TypeError:
    print("refused", end=" ")
print(began.dt.strftime("%z")[0])
"""
ZONES = pytest.mark.parametrize(
    ("zone", "offset"), [("UTC", "+00"), ("Asia/Tokyo", "+09"), ("America/New_York", "-0")]
)


def seconds(*at: int) -> float:
    """Return a UTC time as seconds after the moment that `body` counts from."""
    return datetime(*at, tzinfo=UTC).timestamp() - BODY_EPOCH_S  # type: ignore[misc, arg-type]


@pytest.mark.xdist_group("oldest_duckdb")
@ZONES
@pytest.mark.parametrize("is_oldest", [True, False])
def test_now_beside_our_times_is_right_on_every_machine(
    tmp_path: Path, oldest_duckdb: Path, zone: str, offset: str, *, is_oldest: bool
) -> None:
    """A call that began an hour ago is so for a reader in Tokyo too, in the oldest DuckDB and in ours."""
    told = read_in_zone(AGE, call_an_hour_ago(tmp_path), zone, *([oldest_duckdb] if is_oldest else []))
    _, hours, is_right, in_zone = told
    assert (hours, is_right) == ("1", "True")
    assert in_zone.startswith(offset)


@pytest.mark.slow
@pytest.mark.xdist_group("oldest_duckdb")
@ZONES
@pytest.mark.parametrize("is_oldest", [True, False])
def test_now_beside_our_times_is_right_in_pandas(
    tmp_path: Path, oldest_duckdb: Path, pandas: Path, zone: str, offset: str, *, is_oldest: bool
) -> None:
    """Columns know their zone, so any `now` that knows its own fits; pandas refuses one that does not."""
    packages = [oldest_duckdb, pandas] if is_oldest else [pandas]
    *ages, is_refused, in_zone = read_in_zone(PANDAS_AGE, call_an_hour_ago(tmp_path), zone, *packages)
    assert ages == ["1", "True"] * 3
    assert is_refused == "refused"
    assert in_zone.startswith(offset)


def call_an_hour_ago(path: Path) -> DataFolder:
    folder = DataFolder(path)
    folder.land([body("a", STARTED, "call", datetime.now(UTC).timestamp() - 3600 - BODY_EPOCH_S)])
    folder.sync()
    return folder


def read_in_zone(script: str, folder: DataFolder, zone: str, *packages: Path) -> list[str]:
    """Return the words that a script prints of the published file, on a machine in another time zone."""
    environment = os.environ | {"TZ": zone, "PYTHONPATH": os.pathsep.join(map(str, packages))}
    command = [sys.executable, "-c", script, str(folder.warehouse.published)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def test_days_and_hours_are_cut_in_the_time_zone_of_the_settings(tmp_path: Path) -> None:
    """Also on the days on which clocks change: they have 23 and 25 hours, and no call is lost or doubled."""
    at = [
        (2025, 11, 2, 3, 59),  # 23:59 of the day before, New York
        (2025, 11, 2, 5, 30),  # 1:30, daylight saving time
        (2025, 11, 2, 6, 30),  # 1:30 again, an hour later
        (2025, 11, 3, 4, 59),  # 23:59, 25 hours after the day began
        (2026, 3, 8, 6, 59),  # 1:59
        (2026, 3, 8, 7, 0),  # 3:00, one minute later
    ]
    folder = DataFolder(tmp_path, time_zone="America/New_York")
    folder.land([body(f"t{n}", STARTED, f"call-{n}", seconds(*moment)) for n, moment in enumerate(at)])
    folder.sync()
    assert folder.rows("select day, hour, calls from agent_hourly order by all") == [
        (date(2025, 11, 1), 23, 1),
        (date(2025, 11, 2), 1, 2),
        (date(2025, 11, 2), 23, 1),
        (date(2026, 3, 8), 1, 1),
        (date(2026, 3, 8), 3, 1),
    ]
    assert folder.rows("select day, calls from agent_daily order by day") == [
        (date(2025, 11, 1), 1),
        (date(2025, 11, 2), 3),
        (date(2026, 3, 8), 2),
    ]


def test_another_time_zone_rebuilds_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    """The next sync does it, in each file in its turn, and the proof holds."""
    tokyo = DataFolder(tmp_path, time_zone="Asia/Tokyo")
    late = seconds(2025, 11, 10, 20, 0)
    DataFolder(tmp_path).land([body("a", STARTED, "call", late), body("b", ENDED, "call", late + 60)])
    DataFolder(tmp_path).sync()
    assert tokyo.rows("select day, hour from calls") == [(date(2025, 11, 10), 20)]
    for _ in range(3):
        tokyo.sync()
        for table in ("calls", "calls_enriched", "agent_hourly"):
            (row,) = tokyo.records(f"from {table}")
            assert (row["day"], row["hour"]) == (date(2025, 11, 11), 5)
        assert all(each.is_equal for each in compare_with_rebuild(tokyo))
    with open_session(tokyo) as session:
        assert all(session.update(model).rows_added == 0 for model in session.models)


def test_a_time_zone_that_does_not_exist_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled one would otherwise fail in every statement."""
    monkeypatch.setenv("VERBEX_TIME_ZONE", "Asia/Tokio")
    with pytest.raises(SettingsError, match=r"VERBEX_TIME_ZONE: .*Asia/Tokyo"):
        load_settings()
