"""What the tests of commands share."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Types words after `verbex-sync`, with settings by keyword, and waits for the end."""
