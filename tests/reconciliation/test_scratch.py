"""What a killed rebuild leaves behind is removed, and what others have is not."""

import subprocess
import sys
from pathlib import Path

from support.data_folder import DataFolder, body
from support.oracle import STARTED

from pipelines.reconciliation.rebuild import compare_with_rebuild

REBUILD = """
import sys
from pathlib import Path
from pipelines.reconciliation.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "rebuilt.duckdb").write_bytes(bytes(1000))
    print("working", flush=True)
    sys.stdin.read()
"""


def test_the_next_rebuild_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """A rebuild needs as much disk as the tables. One that is still running keeps its folder."""
    folder = DataFolder(tmp_path / "data")
    folder.land([body("trace-1", STARTED, "call-1", 0)])
    folder.sync()
    (folder.path / "rebuild-notes").mkdir()
    killed, running = start_rebuild(folder.path), start_rebuild(folder.path)
    try:
        killed.kill()
        killed.wait()
        assert len(list(folder.path.glob("rebuild-*"))) == 3
        assert all(table.is_equal for table in compare_with_rebuild(folder))
        left = list(folder.path.glob("rebuild-*"))
        assert folder.path / "rebuild-notes" in left
        assert len(left) == 2
    finally:
        running.communicate(b"")


def start_rebuild(folder: Path) -> "subprocess.Popen[bytes]":
    """Start a process that stays in the middle of a rebuild."""
    command = [sys.executable, "-c", REBUILD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"working\n"
    return process
