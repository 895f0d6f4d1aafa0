"""The type of the fixture that runs commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Types words after `verbex-sync`, with settings by keyword, and waits for the end."""


def typing_in(folder: Path, script: str = "") -> Run:
    """Types commands in a folder, with no settings but those given; with `script` as the program."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("VERBEX_", "DAGSTER"))
    }

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-c", script] if script else ["-m", "pipelines.cli"]), *words]
        return subprocess.run(
            command, cwd=folder, env=environment | settings, capture_output=True, text=True, check=False
        )

    return run
