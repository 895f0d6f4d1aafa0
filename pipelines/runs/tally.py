"""What follow mode did since it last said so: one line a minute, however often it loads.

Counting and wording belong here. When the line is printed does not: see `pipelines.runs.follower`.
"""

from dataclasses import dataclass

from connector.system.counts import counted


@dataclass
class Tally:
    """Counts since the last line."""

    loads: int = 0
    deliveries: int = 0
    asked: int = 0
    acted: int = 0

    def add_load(self, deliveries: int) -> None:
        """Count one load of this many deliveries; answers of Verbex load without any."""
        self.loads += 1
        self.deliveries += deliveries

    def take(self) -> str:
        """Return a line that says what was counted, and begin to count again. It is empty if nothing was."""
        parts = []
        if self.loads:
            parts.append(f"Loaded {counted(self.deliveries, 'delivery')} in {counted(self.loads, 'load')}")
        if self.asked:
            parts.append(f"{'asked' if parts else 'Asked'} Verbex {counted(self.asked, 'time')}")
        if self.acted:
            parts.append(f"{'did' if parts else 'Did'} {counted(self.acted, 'action')}")
        self.loads = self.deliveries = self.asked = self.acted = 0
        return ", ".join(parts)
