"""Twins: receivers of one id on one landing, by a cloned machine, a copied journal or a restored backup."""

import asyncio
import logging
import shutil
from datetime import date
from pathlib import Path

import pytest
from support.receiver import NOON_US, landed_rows, make_delivery, seal_all

from connector.journal.delivery import Group
from connector.journal.group_commit import Journal
from connector.journal.seal import Sealer
from connector.journal.segment import Segment
from connector.landing.compaction import compact
from connector.landing.files import Landing
from connector.landing.zones import EVENTS
from connector.metrics import Metrics

SECOND_US = 1_000_000


def write_segment(folder: Path, bodies: list[bytes], *, first: int = 0, number: int = 1) -> Path:
    """Write a closed segment of the receiver `r`, one delivery a group."""
    folder.mkdir(parents=True, exist_ok=True)
    segment = Segment(folder / f"r-{number:06d}.segment", "r")
    for sequence, body in enumerate(bodies, first):
        moment = NOON_US + sequence * SECOND_US
        segment.append(Group(sequence, [make_delivery(body, received_at_us=moment)]))
    segment.close()
    return segment.path


def bodies_of(name: str, count: int = 10) -> list[bytes]:
    """Return bodies that tell who received them."""
    return [f"{name} {number}".encode() for number in range(count)]


def landed(folder: Path) -> list[bytes]:
    """Return all landed bodies, and assert that no two deliveries share id and number."""
    rows = landed_rows(Landing(str(folder)))
    assert len({(row["receiver_id"], row["sequence"]) for row in rows}) == len(rows)
    return sorted(row["body"] for row in rows)


async def test_two_receivers_of_one_id_land_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second lands under another name and id. Log and metric say so."""
    first, second = bodies_of("first"), bodies_of("second")
    write_segment(tmp_path / "a", first)
    write_segment(tmp_path / "b", second)
    metrics = await seal_all(tmp_path / "a", tmp_path / "landing")
    assert b"verbex_landing_clashes_total 0.0" in metrics.render()
    with caplog.at_level(logging.ERROR):
        metrics = await seal_all(tmp_path / "b", tmp_path / "landing")
    assert landed(tmp_path / "landing") == sorted(first + second)
    assert b"verbex_landing_clashes_total 1.0" in metrics.render()
    assert "copy of this machine" in caplog.text


async def test_twins_that_run_at_once_differ_from_the_first_clash_on(tmp_path: Path) -> None:
    """Both go on receiving; the one that finds its name taken takes another id for all that follows."""
    metrics, journals, sealings = Metrics(), [], []
    for name in ("a", "b"):
        journal = Journal(tmp_path / name, "r", metrics, segment_bytes=1, segment_age_s=0)
        journal.start()
        journals.append(journal)
        sealer = Sealer(journal, lambda: Landing(str(tmp_path / "landing")), metrics, interval_s=0.01)
        sealings.append((sealer, asyncio.create_task(sealer.run())))
    sent = []
    for number in range(40):
        for name, journal in zip(("a", "b"), journals, strict=True):
            sent.append(f"{name} {number}".encode())
            await journal.append(make_delivery(sent[-1]))
        await asyncio.sleep(0.005)
    for journal, (sealer, sealing) in zip(journals, sealings, strict=True):
        await journal.drain()
        sealer.stop()
        await sealing
        journal.close()
    assert landed(tmp_path / "landing") == sorted(sent)
    assert len({journal.receiver_id for journal in journals}) == 2


@pytest.mark.parametrize("whole_first", [True, False])
async def test_a_journal_that_was_copied_while_it_was_written_lands_once(
    tmp_path: Path, *, whole_first: bool
) -> None:
    """The copy has only the first deliveries of the segment. In either order each lands once."""
    bodies = bodies_of("x")
    write_segment(tmp_path / "whole", bodies)
    write_segment(tmp_path / "part", bodies[:4])
    for name in ("whole", "part") if whole_first else ("part", "whole"):
        await seal_all(tmp_path / name, tmp_path / "landing")
    assert landed(tmp_path / "landing") == bodies


@pytest.mark.parametrize("is_merged", [True, False])
async def test_a_journal_from_a_backup_lands_nothing_twice(
    tmp_path: Path, *, is_merged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is compared with landing, also where the small files were merged, and no one is alarmed."""
    bodies = bodies_of("x")
    write_segment(tmp_path / "journal", bodies[:5], number=1)
    write_segment(tmp_path / "journal", bodies[5:], first=5, number=2)
    shutil.copytree(tmp_path / "journal", tmp_path / "backup")
    await seal_all(tmp_path / "journal", tmp_path / "landing")
    if is_merged:
        landing = Landing(str(tmp_path / "landing"))
        assert compact(landing, EVENTS, before=date(2025, 11, 10)) == 2
    with caplog.at_level(logging.ERROR):
        metrics = await seal_all(tmp_path / "backup", tmp_path / "landing")
    assert landed(tmp_path / "landing") == bodies
    assert b"verbex_landing_clashes_total 0.0" in metrics.render()
    assert caplog.text == ""


async def test_a_seal_that_was_killed_after_a_clash_lands_nothing_twice(tmp_path: Path) -> None:
    """The segment is still there, and all of its deliveries are landed, under two names."""
    write_segment(tmp_path / "a", bodies_of("first"))
    second = write_segment(tmp_path / "b", bodies_of("second")).read_bytes()
    for name in ("a", "b"):
        await seal_all(tmp_path / name, tmp_path / "landing")
    (tmp_path / "b" / "r-000001.segment").write_bytes(second)
    await seal_all(tmp_path / "b", tmp_path / "landing")
    assert landed(tmp_path / "landing") == sorted(bodies_of("first") + bodies_of("second"))


async def test_a_damaged_file_of_the_same_name_stays_and_blocks_nothing(tmp_path: Path) -> None:
    """It may be all that is left of other deliveries."""
    folder = tmp_path / "landing" / "date=2025-11-09"
    folder.mkdir(parents=True)
    (folder / "r-000001.parquet").write_bytes(b"half a file")
    write_segment(tmp_path / "journal", bodies_of("x"))
    await seal_all(tmp_path / "journal", tmp_path / "landing")
    assert (folder / "r-000001.parquet").read_bytes() == b"half a file"
    (folder / "r-000001.parquet").unlink()
    assert landed(tmp_path / "landing") == bodies_of("x")


async def test_a_copied_folder_is_taken_over_without_replacing_a_segment(tmp_path: Path) -> None:
    """What has the same name waits for the next start, and then each delivery has landed once."""
    mine, copied = bodies_of("mine"), bodies_of("copied")
    write_segment(tmp_path / "0", mine)
    write_segment(tmp_path / "7", copied)
    for _ in range(2):
        await seal_all(tmp_path / "0", tmp_path / "landing", adopted=tmp_path / "7")
    assert landed(tmp_path / "landing") == sorted(mine + copied)
