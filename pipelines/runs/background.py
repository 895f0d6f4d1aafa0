"""Compaction beside follow mode: a day that holds many small files is merged while it runs.

When it starts and how it ends belong here. Merging does not: see `connector.landing.compaction`. It has a
process of its own, so that it delays no row, and may be killed at any place.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

from connector.errors import OperatorError
from connector.landing import compaction
from connector.landing.files import Landing


class CompactionError(OperatorError):
    """A compaction that failed. What it had merged stays merged, and the next one does the rest."""


@dataclass
class BackgroundCompaction:
    """At most one process that merges the small files of crowded days."""

    landing: Landing
    process: "subprocess.Popen[bytes] | None" = None
    _errors: IO[bytes] = field(default_factory=TemporaryFile)

    def start_if_crowded(self) -> None:
        """Start to merge if a day is crowded, unless the process before is still running.

        Raises:
            CompactionError: The process before has failed.
            OSError: Landing can't be listed.
        """
        if self.process is not None:
            if self.process.poll() is None:
                return
            failed, self.process = self.process.returncode, None
            if failed:
                raise CompactionError(self._last_error())
        if compaction.is_crowded(self.landing):
            command = [sys.executable, "-m", compaction.__name__, self.landing.url]
            self._errors.truncate(0)
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
            )

    def stop(self) -> None:
        """End the process, if it runs. The next one continues its work."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the process was killed"
