"""What a writer may hold in memory comes from the machine or the container, and can be set."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_folder import DataFolder, body
from support.oracle import STARTED

from pipelines.warehouse.memory import (
    TooLittleMemoryError,
    chunk_size_bytes,
    limit_memory,
    read_limit_bytes,
)

MB = 1_000_000
CONTAINER_BYTES = 600 * MB
WRITER = """
import sys
from pathlib import Path
from pipelines.warehouse.database import connect
from pipelines.warehouse.memory import read_limit_bytes
Path(sys.argv[2], "cgroup.procs").write_text("0")
print(read_limit_bytes(connect(Path(sys.argv[1]))))
"""


@pytest.fixture
def container() -> Iterator[Path]:
    """Make a cgroup, as a container is one, in either of its two versions."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    folder = (root / "memory" if first else root) / f"verbex-{uuid4().hex}"
    limit = folder / ("memory.limit_in_bytes" if first else "memory.max")
    try:
        folder.mkdir()
        limit.write_text(str(CONTAINER_BYTES))
    except OSError:
        pytest.skip("limiting memory needs root on Linux")
    yield folder
    folder.rmdir()


def test_a_writer_leaves_half_of_a_container_to_the_rest_of_its_process(
    container: Path, tmp_path: Path
) -> None:
    """A limit that does not fit ends a first load by SIGKILL, at each try."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, tmp_path / "some.duckdb", container],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.25 * CONTAINER_BYTES < int(done.stdout) < 0.5 * CONTAINER_BYTES


@given(st.integers(min_value=128 * MB, max_value=10**12))
def test_a_writer_takes_its_share_of_any_memory_but_never_more_than_it_needs(found_bytes: int) -> None:
    """DuckDB's own limit is 80 % of what it finds."""
    with duckdb.connect(config={"memory_limit": f"{int(found_bytes * 0.8)} bytes"}) as connection:
        limit_memory(connection)
        assert read_limit_bytes(connection) <= min(found_bytes * 0.4, 3_000 * MB)
        assert read_limit_bytes(connection) >= min(found_bytes * 0.3, 2_800 * MB)
        assert chunk_size_bytes(connection) <= read_limit_bytes(connection) / 30


def test_a_setting_wins(tmp_path: Path) -> None:
    """Who knows what else runs on the machine knows better."""
    folder = DataFolder(tmp_path / "data", memory_bytes=400 * MB)
    with folder.warehouse.write() as file:
        assert read_limit_bytes(file.connection) == pytest.approx(400 * MB, rel=0.001)


def test_too_little_memory_is_named_and_more_of_it_continues(tmp_path: Path) -> None:
    """The message does not send people to the SQL, which is right."""
    folder = DataFolder(tmp_path / "data", memory_bytes=2 * MB)
    folder.land([body(f"trace-{number}", STARTED, f"call-{number}", 0) for number in range(2_000)])
    with pytest.raises(TooLittleMemoryError, match="VERBEX_MEMORY_BYTES"):
        folder.sync()
    assert not folder.warehouse.published.exists()
    DataFolder(tmp_path / "data").sync()
    assert folder.rows("select count(*) from calls") == [(2_000,)]
