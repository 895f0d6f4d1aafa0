"""The receiver when the machine fails: a full disk, a failed fsync, a clock that jumps."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.disk import mount, mounted
from support.receiver import NOON_US, ReceiverProcess, landed_rows, make_body, post, serving, until

from connector.landing.files import Landing

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int descriptor) {
    if (access(getenv("SYNC_FAILS_WHILE"), F_OK) == 0) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of two megabytes."""
    with mounted(tmp_path / "disk", "size=2m") as folder:
        yield folder


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """Build a library to preload, whose fdatasync fails while a file exists."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the fault below Python")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


async def deliver(url: str, acknowledged: dict[str, bytes], trace_id: str, padding: int = 0) -> int:
    """Send one delivery, and add it to `acknowledged` if the answer is 200."""
    body = make_body(trace_id, padding="x" * padding)
    status, _ = await post(url, body)
    if status == 200:
        acknowledged[trace_id] = body
    return status


def assert_all_landed(landing: Path, acknowledged: dict[str, bytes]) -> None:
    """Assert that each acknowledged event is landed, byte for byte."""
    landed = {row["trace_id"]: row["body"] for row in landed_rows(Landing(str(landing)))}
    assert {trace_id: landed.get(trace_id) for trace_id in acknowledged} == acknowledged


async def test_a_full_disk_is_a_503_until_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    """Nothing is acknowledged while the disk is full, and nothing acknowledged is lost."""
    acknowledged: dict[str, bytes] = {}
    landing = tmp_path / "landing"
    landing.write_text("in the way")  # or what was landed meanwhile would make room
    settings = {"LANDING_URL": str(landing), "SEAL_INTERVAL_S": "3600"}
    with ReceiverProcess(small_disk / "data", **settings) as receiver:
        numbers = iter(range(1000))
        while await deliver(receiver.url, acknowledged, f"before-{next(numbers)}", 100_000) == 200:
            pass
        full = [await deliver(receiver.url, acknowledged, f"full-{n}", 100_000) for n in range(20)]
        assert set(full) == {503}
        await asyncio.to_thread(mount, small_disk, "remount,size=32m")
        after = [await deliver(receiver.url, acknowledged, f"after-{n}", 100_000) for n in range(20)]
        assert set(after) == {200}
        landing.unlink()
        assert receiver.stop() == 0
    assert len(acknowledged) > 20
    assert_all_landed(landing, acknowledged)


async def test_a_worker_that_finds_no_room_for_its_metrics_says_so(small_disk: Path, tmp_path: Path) -> None:
    """The others answer meanwhile, and it starts once there is room. A file with holes would end it."""
    landing = tmp_path / "landing"
    landing.write_text("in the way")  # or what was landed meanwhile would make room
    settings = {"LANDING_URL": str(landing), "WORKERS": "2", "SEAL_INTERVAL_S": "3600"}
    with ReceiverProcess(small_disk, **settings) as receiver:
        files = {path: path.stat() for path in (small_disk / "metrics").glob("*.db")}
        assert [path for path, stat in files.items() if stat.st_blocks * 512 < stat.st_size] == []
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "rest").write_bytes(bytes(4_000_000))
        pids = {path.stem.rpartition("_")[2] for path in files}
        os.kill(int(pids.pop()), signal.SIGKILL)
        await until(lambda: "No space left on device: '" in receiver.log)
        assert await deliver(receiver.url, {}, "full") == 503
        await until(lambda: '"exit_code":-9' in receiver.log and '"exit_code":1' in receiver.log)
        await asyncio.to_thread(mount, small_disk, "remount,size=32m")
        landing.unlink()
        assert await deliver(receiver.url, {}, "after") == 200
        assert await asyncio.to_thread(receiver.stop) == 0


async def test_a_failed_fsync_is_a_503_and_its_segment_is_never_written_again(
    shim: Path, tmp_path: Path
) -> None:
    """While fdatasync fails, nothing is acknowledged. The next group goes into a new segment."""
    acknowledged: dict[str, bytes] = {}
    switch, journal = tmp_path / "fails", tmp_path / "data" / "journal" / "0"
    wrapper = ["env", f"LD_PRELOAD={shim}", f"SYNC_FAILS_WHILE={switch}"]
    with ReceiverProcess(tmp_path / "data", wrapper=wrapper, SEAL_INTERVAL_S="3600") as receiver:
        assert await deliver(receiver.url, acknowledged, "before") == 200
        (first,) = journal.glob("*.segment")
        switch.touch()
        failing = await asyncio.gather(
            *(deliver(receiver.url, acknowledged, f"failing-{n}") for n in range(20))
        )
        assert set(failing) == {503}
        size_bytes = first.stat().st_size
        switch.unlink()
        assert await deliver(receiver.url, acknowledged, "after") == 200
        assert first.stat().st_size == size_bytes
        assert len(list(journal.glob("*.segment"))) == 2
        assert receiver.stop() == 0
    assert_all_landed(tmp_path / "data" / "landing", acknowledged)


async def test_nothing_is_acknowledged_into_a_segment_that_was_removed(tmp_path: Path) -> None:
    """As by `rm`, or by `mv` to another disk: the system goes on writing it, where no one finds it again."""
    async with serving(tmp_path) as running:
        assert (await post(running.url, make_body("before")))[0] == 200
        (segment,) = tmp_path.glob("*.segment")
        segment.unlink()
        assert (await post(running.url, make_body("removed")))[0] == 503
        assert (await post(running.url, make_body("after")))[0] == 200
        assert [row["trace_id"] for row in running.stored()] == ["after"]


async def test_a_clock_that_jumps_back_changes_nothing_but_the_time_of_receipt(tmp_path: Path) -> None:
    """Numbers continue, and each event is accepted with its own time."""
    moments = iter([NOON_US, NOON_US - 86_400_000_000, NOON_US - 1])
    async with serving(tmp_path, clock_ns=lambda: next(moments) * 1000) as running:
        for number in range(3):
            assert (await post(running.url, make_body(f"trace-{number}")))[0] == 200
        rows = running.stored()
    assert [(row["sequence"], row["trace_id"]) for row in rows] == [(n, f"trace-{n}") for n in range(3)]
    assert [row["received_at"].day for row in rows] == [9, 8, 9]
