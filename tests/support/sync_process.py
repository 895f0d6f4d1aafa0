"""A script for tests that syncs a data folder: once, or repeatedly until it kills itself.

`sync_process.py FOLDER` syncs once. `sync_process.py FOLDER STEP DELAY_S` syncs until line STEP of the code
that writes the warehouse, and ends by SIGKILL DELAY_S seconds later, anywhere in the code. The moment is
random but can be repeated. With `refresh` as one more argument, every sync builds all tables from scratch.
"""

import os
import signal
import sys
import threading
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.warehouse import files, ledger, refresh, session

sys.path.insert(0, str(Path(__file__).parents[1]))  # it runs by itself, without pytest's path

from support.data_folder import DataFolder

_WRITERS = frozenset(module.__file__ for module in (files, ledger, refresh, session))


def main() -> None:
    """Do what the arguments say."""
    folder = DataFolder(Path(sys.argv[1]))
    if len(sys.argv) == 2:
        folder.sync()
        return
    step, delay_s, is_full_refresh = int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:] == ["refresh"]
    die_at(step, delay_s)
    while True:
        folder.sync(is_full_refresh=is_full_refresh)


def die_at(step: int, delay_s: float) -> None:
    """Let this process end by SIGKILL, `delay_s` seconds after line number `step` that it runs."""
    steps = count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
        if frame.f_code.co_filename not in _WRITERS:
            return None
        if event == "line" and next(steps) == step:
            sys.settrace(None)
            threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return trace

    sys.settrace(trace)


if __name__ == "__main__":
    main()
