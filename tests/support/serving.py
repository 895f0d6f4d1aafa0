"""A command that serves pages, as a process that ends with a test."""

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
def serving(folder: Path, name: str, *words: str, **settings: str) -> Iterator[str]:
    """Serve in a folder, with no settings but its `.env` and those given, and return the address.

    It must end well: with exit code 0 on SIGTERM. What it prints as errors is in `<name>.log`.
    """
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "pipelines.cli", name, *words]
    environment = inherited() | settings
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(r"https?://\S+", process.stdout.readline())
            assert found, log.read_text()
            yield found[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_S) == 0, log.read_text()
        finally:
            process.kill()
