"""The journal: what it acknowledged reads back byte for byte, in spite of crashes and failures."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.receiver import make_delivery, read_segment

from connector.journal import group_commit as journal_module
from connector.journal.delivery import Delivery, Group
from connector.journal.group_commit import CannotStoreError, Journal, JournalLockedError, new_receiver_id
from connector.journal.segment import Segment
from connector.metrics import Metrics


@asynccontextmanager
async def open_journal(
    folder: Path, receiver_id: str = "r", *, segment_bytes: int = 1 << 26, segment_age_s: float = 3600
) -> AsyncIterator[Journal]:
    """Open and start a journal. Drain and close it at the end."""
    journal = Journal(
        folder, receiver_id, Metrics(), segment_bytes=segment_bytes, segment_age_s=segment_age_s
    )
    journal.start()
    try:
        yield journal
    finally:
        await journal.drain()
        journal.close()


def read_all(folder: Path) -> pa.Table:
    """Return every delivery in a journal folder, oldest segment first."""
    return pa.concat_tables([read_segment(path)[0] for path in sorted(folder.glob("*.segment"))])


def test_any_bytes_appended_read_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The journal stores bodies and headers exactly, in order, numbered without gaps."""
    texts = st.text()
    deliveries = st.builds(
        Delivery,
        received_at_us=st.integers(0, 4_102_444_800_000_000),
        trace_id=st.none() | texts,
        event_name=st.none() | texts,
        verified_by=st.sampled_from(["signature", "token", "unsigned"]),
        problem=st.none() | texts,
        headers=st.dictionaries(texts, texts, max_size=4),
        body=st.binary(),
    )

    @given(groups=st.lists(st.lists(deliveries, min_size=1, max_size=5), max_size=4))
    @settings(max_examples=50)
    def check(groups: list[list[Delivery]]) -> None:
        segment = Segment(tmp_path_factory.mktemp("journal") / "r.segment", "r")
        sequence = 0
        for group in groups:
            segment.append(Group(sequence, group))
            sequence += len(group)
        segment.close()
        table, torn_bytes = read_segment(segment.path)
        sent = [delivery for group in groups for delivery in group]
        assert torn_bytes == 0
        assert table["sequence"].to_pylist() == list(range(sequence))
        for name in ("trace_id", "event_name", "verified_by", "problem", "body"):
            assert table[name].to_pylist() == [getattr(delivery, name) for delivery in sent]
        assert [dict(pairs) for pairs in table["headers"].to_pylist()] == [each.headers for each in sent]
        assert table["received_at"].cast(pa.int64()).to_pylist() == [each.received_at_us for each in sent]

    check()


def test_a_torn_tail_of_every_possible_length_is_cut_at_the_last_complete_group(tmp_path: Path) -> None:
    """A segment that is cut anywhere, with or without zeros after the cut, gives its complete groups."""
    segment = Segment(tmp_path / "whole.segment", "r")
    ends = [segment.size_bytes]
    for number in range(3):
        segment.append(Group(number, [make_delivery(b"body %d" % number)]))
        ends.append(segment.size_bytes)
    segment.close()
    data, torn = segment.path.read_bytes(), tmp_path / "torn.segment"
    for length, zeros in itertools.product(range(len(data) + 1), (0, 100)):
        torn.write_bytes(data[:length] + bytes(zeros))
        table, torn_bytes = read_segment(torn)
        whole_bytes = max((end for end in ends if end <= length), default=0)
        assert torn_bytes == len(data[whole_bytes:length].rstrip(b"\0"))
        whole_groups = sum(end <= length for end in ends[1:])
        assert table["body"].to_pylist() == [b"body %d" % number for number in range(whole_groups)]


def test_the_zeros_ahead_of_a_segment_are_neither_events_nor_torn(tmp_path: Path) -> None:
    """A process that was killed leaves these zeros. A process that closed the segment does not."""
    segment = Segment(tmp_path / "r.segment", "r")
    segment.append(Group(0, [make_delivery(b"kept")]))
    assert segment.path.stat().st_size > segment.size_bytes
    table, torn_bytes = read_segment(segment.path)
    assert (table["body"].to_pylist(), torn_bytes) == ([b"kept"], 0)
    segment.close()
    assert segment.path.stat().st_size == segment.size_bytes


def test_a_group_with_one_flipped_bit_is_never_read_with_it(tmp_path: Path) -> None:
    """The checksum covers every byte of a group. A flipped length is found out by it."""
    segment = Segment(tmp_path / "r.segment", "r")
    start = segment.size_bytes
    segment.append(Group(0, [make_delivery(b"body")]))
    segment.close()
    data = segment.path.read_bytes()
    for position in range(start, len(data)):
        segment.path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        is_length = position < start + 4
        assert read_segment(segment.path)[0]["body"].to_pylist() == [b"body"] * is_length


async def test_deliveries_that_wait_for_the_disk_become_one_group(tmp_path: Path) -> None:
    """A thousand deliveries at once need fewer than ten groups, and all of them are stored in order."""
    async with open_journal(tmp_path) as journal:
        await asyncio.gather(*(journal.append(make_delivery(b"%d" % number)) for number in range(1000)))
    assert read_all(tmp_path)["body"].to_pylist() == [b"%d" % number for number in range(1000)]
    assert read_all(tmp_path)["body"].num_chunks < 10


async def test_numbers_continue_over_segments(tmp_path: Path) -> None:
    """With one segment per group, receiver and sequence stay unique."""
    async with open_journal(tmp_path, segment_bytes=1) as journal:
        for _ in range(3):
            await journal.append(make_delivery())
        assert [path.name for path in await journal.closed_segments()] == [
            f"r-{number:06d}.segment" for number in (1, 2, 3)
        ]
    assert read_all(tmp_path)["sequence"].to_pylist() == [0, 1, 2]


async def test_the_open_segment_is_closed_only_when_it_is_old_enough(tmp_path: Path) -> None:
    """A segment that is still written is not returned for sealing."""
    async with open_journal(tmp_path, segment_age_s=3600) as journal:
        await journal.append(make_delivery())
        assert await journal.closed_segments() == []
    async with open_journal(tmp_path, "s", segment_age_s=0) as journal:
        await journal.append(make_delivery())
        assert [path.stem for path in await journal.closed_segments()] == ["r-000001", "s-000001"]


async def test_a_quiet_journal_writes_no_file(tmp_path: Path) -> None:
    """A start, a probe and a stop leave only the lock."""
    async with open_journal(tmp_path) as journal:
        assert await journal.probe()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_a_failing_disk_fails_only_the_senders_that_wait(tmp_path: Path) -> None:
    """If the folder is missing, the group fails. Once it is back, the next group is stored."""
    folder, elsewhere = tmp_path / "journal", tmp_path / "elsewhere"
    async with open_journal(folder, segment_bytes=1) as journal:
        await journal.append(make_delivery(b"before"))
        folder.rename(elsewhere)
        with pytest.raises(CannotStoreError):
            await journal.append(make_delivery(b"lost"))
        assert not await journal.probe()
        elsewhere.rename(folder)
        assert await journal.probe()
        await journal.append(make_delivery(b"after"))
    assert read_all(folder)["body"].to_pylist() == [b"before", b"after"]
    assert read_all(folder)["sequence"].to_pylist() == [0, 2]


async def test_a_full_queue_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that wait are bounded. A delivery that fits is still stored."""
    monkeypatch.setattr(journal_module, "MAX_QUEUED_BYTES", 10)
    async with open_journal(tmp_path) as journal:
        fits = journal.append(make_delivery(b"12345678"))
        with pytest.raises(CannotStoreError, match="waiting"):
            journal.append(make_delivery(b"1234"))
        await fits


async def test_a_sender_that_disconnects_does_not_disturb_the_others(tmp_path: Path) -> None:
    """Its cancelled wait is skipped, and the group is stored."""
    async with open_journal(tmp_path) as journal:
        gone, stays = journal.append(make_delivery(b"gone")), journal.append(make_delivery(b"stays"))
        gone.cancel()
        await stays
    assert read_all(tmp_path)["body"].to_pylist() == [b"gone", b"stays"]


async def test_a_draining_journal_stores_what_it_has_and_accepts_no_more(tmp_path: Path) -> None:
    """No queued delivery is lost, and every new one is refused."""
    async with open_journal(tmp_path) as journal:
        queued: list[Any] = [journal.append(make_delivery(b"%d" % number)) for number in range(10)]
        await journal.drain()
        assert all(stored.done() for stored in queued)
        with pytest.raises(CannotStoreError, match="stopping"):
            journal.append(make_delivery())
        assert not await journal.probe()
    assert read_all(tmp_path).num_rows == 10


async def test_a_second_journal_on_a_folder_is_refused(tmp_path: Path) -> None:
    """The error names the process that holds the folder. Once the first is closed, the folder is free."""
    async with open_journal(tmp_path):
        with pytest.raises(JournalLockedError, match=str(os.getpid())):
            Journal(tmp_path, "second", Metrics(), segment_bytes=1, segment_age_s=1)
    async with open_journal(tmp_path, "third") as journal:
        await journal.append(make_delivery())


def test_receiver_ids_sort_by_time_and_differ_within_a_second() -> None:
    """The time orders them for people, and the random part makes them different."""
    early, late = datetime(2025, 11, 9, 23, 59, 59, tzinfo=UTC), datetime(2025, 11, 10, tzinfo=UTC)
    assert new_receiver_id(early, b"\xff") < new_receiver_id(late, b"\x00")
    assert new_receiver_id(early, b"\x01") != new_receiver_id(early, b"\x02")
