"""The UI with Dagster's daemon beside it, started by the command as a person types it."""

import json
import time
from pathlib import Path

from support.data_folder import DataFolder
from support.deadline import HANG_S
from support.ui import running_ui


def test_what_landed_is_published_while_it_runs_and_nothing_runs_after_it(tmp_path: Path) -> None:
    """Sensors start the load, without a `sync` before. SIGTERM ends the daemon and the code servers too."""
    folder = DataFolder(tmp_path / "data")
    folder.land([json.dumps({"traceId": "t1", "event": "call_started"}).encode()])
    deadline = time.monotonic() + HANG_S
    with running_ui(tmp_path):
        while not folder.warehouse.published.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    while (left := processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert folder.rows("select count(*) from quarantine") == [(1,)], (tmp_path / "ui.log").read_text()


def processes_in(folder: Path) -> list[str]:
    """Return the process ids that run in a folder, as Linux lists them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append(process.name)
        except OSError:
            continue  # it ended, or belongs to someone else
    return found
