"""The type of the fixture that runs commands."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
"""A function that runs `verbex-sync` with the given words and settings, and waits for its end."""
