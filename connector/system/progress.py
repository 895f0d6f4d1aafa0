"""The progress of long work, for code that shows it.

Only the type belongs here. See `pipelines.cli` for the bars.
"""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""A function that is called with the amount done and the total amount."""


def no_progress(done: int, total: int) -> None:
    """Show nothing."""
