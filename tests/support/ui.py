"""A running `verbex-sync ui`, with its daemon and code servers, that ends with a test."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.command import inherited
from support.deadline import HANG_S


@contextmanager
def running_ui(folder: Path, *words: str) -> Iterator[str]:
    """Serve the UI of a folder, with no settings but its `.env`, and return its address.

    It must end well: with exit code 0 on SIGTERM.
    """
    log = folder / "ui.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "ui", "--port", "0", *words],
            cwd=folder,
            env=inherited(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127.0.0.1:\d+", process.stdout.readline())
        assert found, log.read_text()
        yield found[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
