"""Sealing: the deliveries of the journal are landed once, even if sealing stops halfway."""

import asyncio
import os
import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.receiver import NOON_US, landed_rows, make_delivery, until

from connector.journal import seal as seal_module
from connector.journal.delivery import Group
from connector.journal.group_commit import Journal
from connector.journal.seal import Sealer, seal_segment
from connector.journal.segment import Segment
from connector.landing.files import Landing
from connector.landing.zones import EVENTS
from connector.metrics import Metrics

ONE_DAY_US = 86_400_000_000


def write_segment(folder: Path, *received_at_us: int, name: str = "r-000001") -> Path:
    """Write a closed segment with one delivery for each time of receipt."""
    segment = Segment(folder / f"{name}.segment", "r")
    for number, moment in enumerate(received_at_us):
        segment.append(Group(number, [make_delivery(b"%d" % number, received_at_us=moment)]))
    segment.close()
    return segment.path


def test_a_sealed_segment_is_landed_under_its_own_name_and_removed(tmp_path: Path) -> None:
    """The rows are in the UTC day of their receipt."""
    landing, path = Landing(str(tmp_path / "landing")), write_segment(tmp_path, NOON_US, NOON_US + 1)
    files = seal_segment(path, landing).files
    assert [file.path for file in files] == ["date=2025-11-09/r-000001.parquet"]
    assert [row["body"] for row in landed_rows(landing)] == [b"0", b"1"]
    assert not path.exists()


def test_a_segment_over_midnight_lands_in_both_days(tmp_path: Path) -> None:
    """This is also true if the clock jumps back in between."""
    landing = Landing(str(tmp_path / "landing"))
    path = write_segment(tmp_path, NOON_US, NOON_US + ONE_DAY_US, NOON_US - ONE_DAY_US, NOON_US)
    files = seal_segment(path, landing).files
    assert [file.path[:15] for file in files] == ["date=2025-11-08", "date=2025-11-09", "date=2025-11-10"]
    assert sorted(row["body"] for row in landed_rows(landing)) == [b"0", b"1", b"2", b"3"]


def test_sealing_twice_gives_one_copy(tmp_path: Path) -> None:
    """After a kill before the segment was removed, the next seal lands the same bytes."""
    landing, path = Landing(str(tmp_path / "landing")), write_segment(tmp_path, NOON_US)
    segment_bytes = path.read_bytes()
    (first,) = seal_segment(path, landing).files
    landed_bytes = (tmp_path / "landing" / first.path).read_bytes()
    path.write_bytes(segment_bytes)
    seal_segment(path, landing)
    assert [row["body"] for row in landed_rows(landing)] == [b"0"]
    assert (tmp_path / "landing" / first.path).read_bytes() == landed_bytes


@pytest.mark.parametrize("content", [b"", b"torn"])
def test_a_segment_without_a_complete_group_lands_nothing(tmp_path: Path, content: bytes) -> None:
    """No empty file is landed, and the segment is removed."""
    landing, path = Landing(str(tmp_path / "landing")), tmp_path / "r.segment"
    path.write_bytes(content)
    assert seal_segment(path, landing).files == []
    assert not path.exists()
    assert landed_rows(landing) == []


def test_a_segment_stays_if_landing_cannot_store_it(tmp_path: Path) -> None:
    """If a file is in the place of landing, sealing raises, and the deliveries are still in the journal."""
    (tmp_path / "landing").write_text("in the way")
    path = write_segment(tmp_path, NOON_US)
    with pytest.raises(OSError, match="landing"):
        seal_segment(path, Landing(str(tmp_path / "landing")))
    assert path.exists()


async def test_the_sealer_catches_up_once_landing_is_back(tmp_path: Path) -> None:
    """Deliveries are acknowledged and stored meanwhile. Then each is landed once, without a restart."""
    obstacle, landing = tmp_path / "landing", Landing(str(tmp_path / "landing"))
    obstacle.write_text("in the way")
    journal = Journal(tmp_path / "journal", "r", Metrics(), segment_bytes=1, segment_age_s=0)
    journal.start()
    sealer = Sealer(journal, lambda: landing, Metrics(), interval_s=0.01)
    sealing = asyncio.create_task(sealer.run())
    for number in range(3):
        await journal.append(make_delivery(b"%d" % number))
    await until(lambda: sealer.failure is not None)
    assert len(await journal.closed_segments()) == 3
    obstacle.unlink()
    await until(lambda: sealer.failure is None)
    assert await journal.closed_segments() == []
    await journal.drain()
    sealer.stop()
    await sealing
    journal.close()
    assert [row["body"] for row in landed_rows(landing)] == [b"0", b"1", b"2"]


async def test_the_age_of_what_waits_grows_while_landing_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount or a bucket that answers nothing is no error, so the gauge and the log must say it."""
    monkeypatch.setattr(seal_module, "_LONG_LANDING_S", 0.1)
    metrics, pipe = Metrics(), tmp_path / "landing" / "date=2025-11-09" / "r-000001.parquet"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)  # reading it hangs until someone writes
    journal = Journal(tmp_path / "journal", "s", metrics, segment_bytes=1, segment_age_s=0)
    path = write_segment(journal.folder, NOON_US)
    os.utime(path, (path.stat().st_mtime - 100,) * 2)
    sealer = Sealer(journal, lambda: Landing(str(tmp_path / "landing")), metrics, interval_s=0.01)
    sealing = asyncio.create_task(sealer.run())
    ages = [await next_age(metrics, after=age) for age in (0.0, 100.0, 100.5)]
    assert ages == sorted(ages)
    await until(lambda: "hangs" in caplog.text)
    await asyncio.to_thread(pipe.write_bytes, b"")
    pipe.unlink()
    await until(lambda: len(landing_files(tmp_path)) == 1)
    sealer.stop()
    await sealing
    journal.close()


async def next_age(metrics: Metrics, *, after: float) -> float:
    """Wait until the age of the oldest segment is more than `after`, and return it."""

    def age() -> float:
        match = re.search(rb"^verbex_journal_unsealed_age_seconds (\S+)", metrics.render(), re.MULTILINE)
        assert match
        return float(match[1])

    await until(lambda: age() > after)
    return age()


def landing_files(folder: Path) -> list[Path]:
    """Return the landed files."""
    return list((folder / "landing").rglob("[!.]*.parquet"))


async def test_a_segment_that_cannot_be_read_blocks_no_other(tmp_path: Path) -> None:
    """A bad sector under the oldest segment does not stop the landing of later events."""
    journal_folder, landing = tmp_path / "journal", Landing(str(tmp_path / "landing"))
    journal = Journal(journal_folder, "r", Metrics(), segment_bytes=1, segment_age_s=0)
    (journal_folder / "a-000001.segment").mkdir()  # reading it fails, like a file on a failing disk
    for number in range(3):
        write_segment(journal_folder, NOON_US, name=f"b-{number}")
    sealer = Sealer(journal, lambda: landing, Metrics(), interval_s=0.01)
    sealing = asyncio.create_task(sealer.run())
    await until(lambda: len(landing.list_files(EVENTS)) == 3)
    assert "a-000001" in (sealer.failure or "")
    sealer.stop()
    await sealing
    journal.close()


async def test_segments_that_never_can_be_read_block_none_that_failed_once(tmp_path: Path) -> None:
    """Landing was away meanwhile, so every segment has failed. Those that can be landed then are."""
    journal_folder, obstacle = tmp_path / "journal", tmp_path / "landing"
    landing = Landing(str(obstacle))
    obstacle.write_text("in the way")
    journal = Journal(journal_folder, "r", Metrics(), segment_bytes=1, segment_age_s=0)
    for number in range(2):
        (journal_folder / f"a-{number}.segment").mkdir()  # reading it fails, like a file on a failing disk
    for number in range(3):
        write_segment(journal_folder, NOON_US, name=f"b-{number}")
    metrics = Metrics()
    sealer = Sealer(journal, lambda: landing, metrics, interval_s=0.001)
    sealing = asyncio.create_task(sealer.run())
    await until(lambda: b"verbex_seal_failures_total 5.0" in metrics.render())
    obstacle.unlink()
    await until(lambda: len(landing.list_files(EVENTS)) == 3)
    sealer.stop()
    await sealing
    journal.close()


async def test_sealing_continues_once_the_process_may_open_files_again(tmp_path: Path) -> None:
    """Without a free file descriptor, even the journal's folder can't be listed."""
    landing, metrics = Landing(str(tmp_path / "landing")), Metrics()
    journal = Journal(tmp_path / "journal", "r", metrics, segment_bytes=1, segment_age_s=0)
    write_segment(journal.folder, NOON_US)
    sealer = Sealer(journal, lambda: landing, metrics, interval_s=0.01)
    with no_descriptor_left():
        sealing = asyncio.create_task(sealer.run())
        await until(lambda: sealer.failure is not None or b"_failures_total 0.0" not in metrics.render())
    await until(lambda: len(landing.list_files(EVENTS)) == 1)
    sealer.stop()
    await sealing
    journal.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Prevent this process from opening more files during the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_left_over_segments_of_an_earlier_run_are_sealed(tmp_path: Path) -> None:
    """The segments that a killed receiver left in its folder are landed at the next start."""
    write_segment(tmp_path, NOON_US, name="earlier-000007")
    landing = Landing(str(tmp_path / "landing"))
    journal = Journal(tmp_path, "r", Metrics(), segment_bytes=1, segment_age_s=1)
    journal.start()
    sealer = Sealer(journal, lambda: landing, Metrics(), interval_s=1)
    sealer.stop()
    await sealer.run()
    await journal.drain()
    journal.close()
    assert [file.path for file in landing.list_files(EVENTS)] == ["date=2025-11-09/earlier-000007.parquet"]


def test_a_segment_is_private_to_its_owner(tmp_path: Path) -> None:
    """Bodies are personal data, so no other user of the machine may read them."""
    assert stat.S_IMODE(write_segment(tmp_path, NOON_US).stat().st_mode) == 0o600
