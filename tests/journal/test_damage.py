"""A damaged segment: what can be read of it lands, and the segment is kept for a person to look at."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.receiver import landed_rows, make_delivery, seal_all

from connector.journal.delivery import Group
from connector.journal.segment import Segment
from connector.journal.segment_reader import SegmentReader
from connector.landing.files import Landing

Spoil = Callable[[bytes, list[int]], bytes]
"""Given a segment's bytes and where its groups begin and end, returns the damaged bytes."""

GROUPS = 10


def write_segment(folder: Path, *, is_closed: bool = True, padding: int = 0) -> tuple[Path, list[int]]:
    """Write a segment of ten groups of one delivery each, and return where they begin and end."""
    folder.mkdir(parents=True, exist_ok=True)
    segment = Segment(folder / "20251109T120000Z-abcdef12-000001.segment", "20251109T120000Z-abcdef12")
    ends = [segment.size_bytes]
    for number in range(GROUPS):
        segment.append(Group(number, [make_delivery(b"body %d" % number + b"x" * padding)]))
        ends.append(segment.size_bytes)
    data = segment.path.read_bytes()
    segment.close()
    if not is_closed:  # as a kill leaves it
        segment.path.write_bytes(data)
    return segment.path, ends


def flip(position: int, bit: int = 1) -> Callable[[bytes], bytes]:
    """Return a function that flips one bit."""
    return lambda data: data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


def zero(begin: int, end: int) -> Callable[[bytes], bytes]:
    """Return a function that sets bytes to zero."""
    return lambda data: data[:begin] + bytes(end - begin) + data[end:]


DAMAGES: dict[str, tuple[Spoil, set[int]]] = {
    # the damage: how it is done, and which of the ten groups can't be read any more
    "a bit of a body": (lambda data, ends: flip(ends[3] - 1)(data), {2}),
    "a bit of a checksum": (lambda data, ends: flip(ends[2] + 5)(data), {2}),
    "a bit of a length": (lambda data, ends: flip(ends[2])(data), set()),
    "a high bit of a length": (lambda data, ends: flip(ends[2] + 3, 0x80)(data), set()),
    "a bit of the header": (lambda data, _: flip(9)(data), set()),
    "a bit of the header's length": (lambda data, _: flip(0)(data), set()),
    "the first group": (lambda data, ends: flip(ends[1] - 1)(data), {0}),
    "the last group": (lambda data, ends: flip(ends[10] - 1)(data), {9}),
    "the last group's length": (lambda data, ends: flip(ends[9])(data), set()),
    "two groups": (lambda data, ends: flip(ends[8] - 1)(flip(ends[3] - 1)(data)), {2, 7}),
    "header and last group": (lambda data, ends: flip(ends[10] - 1)(flip(9)(data)), {9}),
    "a zeroed block over three groups": (lambda data, ends: zero(ends[4] + 9, ends[6] + 9)(data), {4, 5, 6}),
    "a zeroed block over the header": (lambda data, ends: zero(0, ends[1] - 3)(data), {0}),
    "a group that is there twice": (lambda data, ends: data[: ends[4]] + data[ends[2] :], set()),
    "the whole twice": (lambda data, _: data + data, set()),
    "bytes of another file": (
        lambda data, ends: data[: ends[3]] + b"\x92\xff" * 999 + data[ends[3] :],
        set(),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("is_closed", [True, False])
async def test_groups_before_and_behind_damage_land_and_the_segment_is_kept(
    tmp_path: Path, name: str, is_closed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each group that fits its checksum lands once; log and metric say that a segment was kept aside."""
    path, ends = write_segment(tmp_path / "journal", is_closed=is_closed)
    spoil, lost = DAMAGES[name]
    spoiled = spoil(path.read_bytes(), ends)
    path.write_bytes(spoiled)
    with caplog.at_level(logging.ERROR):
        metrics = await seal_all(tmp_path / "journal", tmp_path / "landing")
    rows = landed_rows(Landing(str(tmp_path / "landing")))
    assert {row["sequence"] for row in rows} == set(range(GROUPS)) - lost
    assert {row["receiver_id"] for row in rows} == {"20251109T120000Z-abcdef12"}
    (kept,) = [each for each in (tmp_path / "journal").iterdir() if each.name != "lock"]
    assert kept.name.endswith(".damaged")
    assert kept.read_bytes() == spoiled
    assert "kept aside" in caplog.text
    assert b"verbex_journal_damaged_segments 1.0" in metrics.render()


def cut(keep: int, zeros: int) -> Callable[[bytes, list[int]], bytes]:
    """Return a function that leaves some bytes of the last group, and zeros behind them."""
    return lambda data, ends: data[: ends[9] + keep] + bytes(zeros)


@pytest.mark.parametrize(
    "spoil",
    [
        cut(0, 0),
        cut(3, 0),
        cut(3, 4096),
        cut(30, 0),
        cut(30, 4096),
        lambda data, ends: data[: ends[9] + 20] + bytes(512) + data[ends[9] + 532 : ends[10]],
    ],
)
async def test_what_a_crash_leaves_is_no_damage(
    tmp_path: Path, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    """The group that was being written was never acknowledged. Nothing is kept and no one is alarmed."""
    path, ends = write_segment(tmp_path / "journal", is_closed=False, padding=2000)
    path.write_bytes(spoil(path.read_bytes(), ends))
    with caplog.at_level(logging.WARNING):
        metrics = await seal_all(tmp_path / "journal", tmp_path / "landing")
    rows = landed_rows(Landing(str(tmp_path / "landing")))
    assert {row["sequence"] for row in rows} == set(range(GROUPS - 1))
    assert [each.name for each in (tmp_path / "journal").iterdir()] == ["lock"]
    assert caplog.text == ""
    assert b"verbex_journal_damaged_segments 0.0" in metrics.render()


def test_any_damage_costs_only_the_groups_it_hits(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever bytes are in place of some others, every untouched group is read, and none is invented."""
    path, ends = write_segment(tmp_path_factory.mktemp("journal"))
    whole = path.read_bytes()

    @given(position=st.integers(0, len(whole) - 1), junk=st.binary(min_size=1, max_size=80))
    @settings(max_examples=200)
    def check(position: int, junk: bytes) -> None:
        path.write_bytes((whole[:position] + junk + whole[position + len(junk) :])[: len(whole)])
        read: list[Any] = [row for batch in SegmentReader(path).batches() for row in batch.to_pylist()]
        hit = range(position, position + len(junk))
        untouched = {n for n in range(GROUPS) if ends[n] >= hit.stop or ends[n + 1] <= hit.start}
        assert untouched <= {row["sequence"] for row in read}
        assert all(row["body"] == b"body %d" % row["sequence"] for row in read)

    check()


async def test_a_repaired_segment_that_is_put_back_lands_only_what_was_missing(tmp_path: Path) -> None:
    """A person can restore the file from a backup; nothing doubles."""
    path, ends = write_segment(tmp_path / "journal")
    whole = path.read_bytes()
    path.write_bytes(flip(ends[3] - 1)(whole))
    await seal_all(tmp_path / "journal", tmp_path / "landing")
    path.write_bytes(whole)
    await seal_all(tmp_path / "journal", tmp_path / "landing")
    rows = landed_rows(Landing(str(tmp_path / "landing")))
    assert sorted(row["body"] for row in rows) == [b"body %d" % number for number in range(GROUPS)]
