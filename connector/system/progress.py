"""How far long work is, for whoever shows it.

Only the shape belongs here. Bars are drawn by `pipelines.cli`.
"""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is in all."""


def no_progress(done: int, total: int) -> None:
    """Show nothing."""
