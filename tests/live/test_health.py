"""Whether what is shown is live: what waits for how long, told once it is no longer usual."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.data_folder import NOON, DataFolder, body
from support.live import ago, land_now
from support.oracle import STARTED

from connector.journal.segment import segment_name
from pipelines.live.health import Watch
from pipelines.live.published import Reader

SEAL_INTERVAL_S = 5.0


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader of a published folder that has everything that landed."""
    folder = DataFolder(tmp_path / "data")
    land_now(folder, (STARTED, "c1", 60))
    made = Reader(folder)
    yield made
    made.close()


def land_one_more(reader: Reader) -> None:
    assert isinstance(reader.folder, DataFolder)
    reader.folder.land([body("t2", STARTED, "c2", ago(1))])


def test_files_that_nothing_loads_are_told_after_half_a_minute(reader: Reader) -> None:
    """Until then a sync may be about to begin. A clock that is set back begins the wait again."""
    watch, now = Watch(SEAL_INTERVAL_S), datetime.now(UTC)
    assert watch.measure(reader, now).warnings == ()
    land_one_more(reader)
    found = [
        bool(watch.measure(reader, now + timedelta(seconds=after_s)).warnings)
        for after_s in (0, 29, 31, -3600, -3571, -3569)
    ]
    assert found == [False, False, True, False, False, True]
    health = watch.measure(reader, now + timedelta(hours=1))
    assert health.files_waiting == 1
    assert "no sync is running" in health.warnings[0]
    assert "verbex-sync sync --follow" in health.warnings[0]


def test_a_published_load_ends_the_wait(reader: Reader) -> None:
    watch, now = Watch(SEAL_INTERVAL_S), datetime.now(UTC)
    land_one_more(reader)
    watch.measure(reader, now)
    assert watch.measure(reader, now + timedelta(minutes=1)).warnings
    assert isinstance(reader.folder, DataFolder)
    reader.folder.sync()
    assert watch.measure(reader, now + timedelta(minutes=1)).warnings == ()


def test_a_sync_that_writes_is_no_sync_that_is_missing(reader: Reader) -> None:
    """A first load may take minutes."""
    watch, now = Watch(SEAL_INTERVAL_S), datetime.now(UTC)
    land_one_more(reader)
    watch.measure(reader, now)
    with reader.folder.warehouse.write():
        assert watch.measure(reader, now + timedelta(minutes=9)).warnings == ()


def test_a_journal_that_nobody_lands_is_told(reader: Reader) -> None:
    folder = reader.folder.path / "journal" / "0"
    folder.mkdir(parents=True)
    (folder / segment_name("receiver", 1)).write_bytes(b"stored")
    watch, now = Watch(SEAL_INTERVAL_S), datetime.now(UTC)
    assert watch.measure(reader, now).warnings == ()
    later = watch.measure(reader, now + timedelta(minutes=5))
    assert later.journal_bytes == 6
    assert "no receiver is running" in later.warnings[0]


def test_lost_landed_files_are_told_at_once(reader: Reader) -> None:
    shutil.rmtree(next((reader.folder.path / "landing").glob("date=*")))
    health = Watch(SEAL_INTERVAL_S).measure(reader, datetime.now(UTC))
    assert health.files_missing == 1
    assert "lacks 1 landed files" in health.warnings[0]


def test_a_clock_that_was_set_back_is_told(reader: Reader) -> None:
    """Ages and the day so far would be wrong without a word."""
    watch = Watch(SEAL_INTERVAL_S)
    assert watch.measure(reader, NOON - timedelta(seconds=20)).warnings == ()  # it is published at noon
    (warning,) = watch.measure(reader, NOON - timedelta(hours=3)).warnings
    assert "3 hours from now" in warning
    assert "Set the clocks" in warning
