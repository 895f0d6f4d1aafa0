"""The type of the fixture that runs commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Query = Callable[..., Result]
"""Types words after `verbex-sync query`, in this process."""

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Types words after `verbex-sync`, with settings by keyword, and waits for the end."""


def inherited() -> dict[str, str]:
    """Return the environment without our settings and Dagster's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VERBEX_", "DAGSTER"))}


def typing_in(folder: Path, script: str = "") -> Run:
    """Types commands in a folder, with no settings but those given; with `script` as the program."""
    environment = inherited()

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-c", script] if script else ["-m", "pipelines.cli"]), *words]
        return subprocess.run(
            command, cwd=folder, env=environment | settings, capture_output=True, text=True, check=False
        )

    return run
