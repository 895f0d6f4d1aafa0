"""A running `verbex-sync ui`, with its daemon and code servers, that ends with a test."""

from contextlib import AbstractContextManager
from pathlib import Path

from support.serving import serving


def running_ui(folder: Path, *words: str) -> AbstractContextManager[str]:
    """Serve the UI of a folder, with no settings but its `.env`, and return its address."""
    return serving(folder, "ui", "--port", "0", *words)
