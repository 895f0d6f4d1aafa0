"""Work that may fail in a loop that runs for months: each failure is one line, and the next try waits longer.

The waits belong here. The work itself does not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

Echo = Callable[[str], None]
"""A function that prints one line for the user."""


@dataclass
class Patience:
    """One kind of work in a loop. If it fails, the loop continues.

    Attributes:
        name: The name of the work in messages.
        echo: Prints the messages.
        pause_s: The wait after the last failure; 0 if the last try succeeded.
    """

    name: str
    echo: Echo
    pause_s: float = 0.0
    _due_s: float = 0.0

    def attempt(self, work: Callable[[], None]) -> None:
        """Do the work, unless it failed a short time ago."""
        if time.monotonic() < self._due_s:
            return
        try:
            work()
        except Exception as error:
            if is_interrupt(error):
                raise
            self.pause_s = min(max(2 * self.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._due_s = time.monotonic() + self.pause_s
            self.echo(f"{self.name} failed: {describe(error)}. The next try is in {self.pause_s:.0f} s.")
        else:
            self.pause_s = 0.0


def is_interrupt(error: Exception) -> bool:
    """Return whether `error` is the one that DuckDB raises for an interrupt in the middle of a query."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"


def describe(error: Exception) -> str:
    """Return an error as one line that names its type."""
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
