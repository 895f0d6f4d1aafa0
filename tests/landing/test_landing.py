"""Landing: a file is visible as a whole or not at all, and reads back as it was written."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.receiver import NOON_US, make_delivery

from connector.journal.delivery import Group, to_batch
from connector.landing.compaction import compact
from connector.landing.files import Landing
from connector.landing.zones import ANSWER_SCHEMA, EVENT_SCHEMA, EVENTS, PCA


def events(*bodies: bytes) -> pa.Table:
    """Return one delivery for each body."""
    return pa.Table.from_batches([to_batch("r", [Group(0, [make_delivery(body) for body in bodies])])])


@given(bodies=st.lists(st.binary(), min_size=1, max_size=5))
@settings(max_examples=30)
def test_any_body_reads_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    """Parquet stores exactly the bytes that were received."""
    landing, table = Landing(str(tmp_path_factory.mktemp("landing"))), events(*bodies)
    (file,) = landing.write(table, zone=EVENTS, name="a")
    assert landing.read(file, EVENT_SCHEMA) == table


def answers() -> pa.Table:
    """Return one attempt, on the day of the events."""
    row = {"fetcher_id": "f", "sequence": 0, "attempted_at": NOON_US, "call_id": "c", "outcome": "failed"}
    return pa.Table.from_pylist([row], ANSWER_SCHEMA)


def test_files_of_a_zone_are_listed_by_path_and_zones_do_not_mix(tmp_path: Path) -> None:
    """Answers are in their own folder and are not listed as events."""
    landing = Landing(str(tmp_path))
    for name in ("b", "a"):
        landing.write(events(b""), zone=EVENTS, name=name)
    landing.write(answers(), zone=PCA, name="c")
    assert [file.path for file in landing.list_files(EVENTS)] == [
        "date=2025-11-09/a.parquet",
        "date=2025-11-09/b.parquet",
    ]
    assert [file.path for file in landing.list_files(PCA)] == ["pca/date=2025-11-09/c.parquet"]


def test_a_landing_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    """Listing files before the first delivery is not an error."""
    assert Landing(str(tmp_path / "nowhere")).list_files(EVENTS) == []


def test_what_a_killed_writer_left_behind_is_not_listed(tmp_path: Path) -> None:
    """A half-written file under its temporary name is invisible to readers."""
    landing = Landing(str(tmp_path))
    landing.write(events(b""), zone=EVENTS, name="a")
    (tmp_path / "date=2025-11-09" / ".b.parquet.tmp").write_bytes(b"PAR1 half")
    assert [file.path for file in landing.list_files(EVENTS)] == ["date=2025-11-09/a.parquet"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A half file would stay forever, and most likely on a full disk."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from events(b"a").to_batches()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        Landing(str(tmp_path)).write_batches(batches(), zone=EVENTS, name="a")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_lacks_a_column_is_an_error(tmp_path: Path) -> None:
    """The error names the file and the columns."""
    landing = Landing(str(tmp_path))
    (file,) = landing.write(events(b""), zone=EVENTS, name="a")
    with pytest.raises(pa.ArrowInvalid, match=r"a\.parquet lacks the columns .*fetcher_id"):
        landing.read(file, ANSWER_SCHEMA)


def test_a_file_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    """A damaged file is never read as an empty one."""
    landing = Landing(str(tmp_path))
    (file,) = landing.write(events(b"body"), zone=EVENTS, name="a")
    path = tmp_path / file.path
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(pa.ArrowInvalid):
        landing.read(file, EVENT_SCHEMA)


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_bit_that_flips_in_a_page_is_an_error(tmp_path: Path, *, is_merged: bool) -> None:
    """Pages have checksums. Rows that nobody sent would else be read from the file."""
    landing = Landing(str(tmp_path))
    for name in ("r-1", "r-2"):
        landing.write(events(b"z" * 4096 + bytes(range(256)) * 8), zone=EVENTS, name=name)
    if is_merged:
        compact(landing, EVENTS, before=date(2025, 11, 10))
    (path, *_) = sorted((tmp_path / "date=2025-11-09").iterdir())
    content = path.read_bytes()
    body = pq.ParquetFile(path).metadata.row_group(0).column(pq.ParquetFile(path).metadata.num_columns - 1)
    for position in range(body.data_page_offset + 40, body.data_page_offset + body.total_compressed_size, 50):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        damaged = Landing(str(tmp_path))
        with pytest.raises((OSError, pa.ArrowInvalid)):
            damaged.read(damaged.list_files(EVENTS)[0], EVENT_SCHEMA)


def test_landed_files_are_zstd_parquet(tmp_path: Path) -> None:
    """Common tools can read them, and they are small."""
    landing = Landing(str(tmp_path))
    (file,) = landing.write(events(b"body"), zone=EVENTS, name="a")
    metadata = pq.ParquetFile(tmp_path / file.path).metadata
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"ZSTD"}
    assert file.size_bytes == (tmp_path / file.path).stat().st_size


def test_a_row_received_just_before_midnight_is_in_the_day_that_ends(tmp_path: Path) -> None:
    """Days are UTC days, to the microsecond."""
    before = NOON_US + 12 * 3_600_000_000 - 1
    deliveries = [
        make_delivery(b"late", received_at_us=before),
        make_delivery(b"early", received_at_us=before + 1),
    ]
    table = pa.Table.from_batches([to_batch("r", [Group(0, deliveries)])])
    landing = Landing(str(tmp_path))
    late, early = landing.write(table, zone=EVENTS, name="a")
    assert landing.read(late, EVENT_SCHEMA)["body"].to_pylist() == [b"late"]
    assert landing.read(early, EVENT_SCHEMA)["body"].to_pylist() == [b"early"]
