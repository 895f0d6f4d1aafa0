"""Whether what is shown is live: the age of the tables, what waits to be loaded, and the room on the disk.

Everything here is measured beside the tables. What they say themselves does not belong here: see
`pipelines.live.board`.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.errors import OperatorError
from connector.journal.segment import SEGMENT_SUFFIX
from connector.system.counts import counted
from pipelines.live.published import Reader
from pipelines.live.waiting import WaitingFiles
from pipelines.live.words import age

_PATIENCE = timedelta(seconds=30)
_LITTLE_DISK_SHARE = 0.05


@dataclass(frozen=True)
class Health:
    """What was measured at `measured_at`.

    Attributes:
        measured_at: By this machine's clock, UTC.
        status: The row of `pipeline_status`, empty if nothing can be read.
        files_waiting: Landed files that the tables lack [count]; None if that is not known.
        files_missing: Landed files that the tables were loaded from, and that are gone [count].
        journal_bytes: What the receiver stored and has not landed yet [bytes].
        disk_free_bytes: Room in the data folder [bytes].
        disk_free_share: The same as a share of the disk.
        warnings: What a reader must know before trusting the numbers, each with the next step.
    """

    measured_at: datetime
    status: dict[str, object] = field(default_factory=dict)
    files_waiting: int | None = None
    files_missing: int = 0
    journal_bytes: int = 0
    disk_free_bytes: int = 0
    disk_free_share: float = 1.0
    warnings: tuple[str, ...] = ()

    @property
    def published_at(self) -> datetime | None:
        """When the tables were published, UTC."""
        published_at = self.status.get("published_at")
        return published_at if isinstance(published_at, datetime) else None


class Watch:
    """Measures again and again, and remembers since when something waits."""

    def __init__(self, seal_interval_s: float) -> None:
        self._longest_in_journal = _PATIENCE + timedelta(seconds=3 * seal_interval_s)
        self._waiting_since: datetime | None = None
        self._waiting_at: object = None
        self._waiting_files: WaitingFiles | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a bucket has not answered yet."""
        return self._waiting_files is not None and self._waiting_files.is_asking

    def measure(self, reader: Reader, now: datetime) -> Health:
        """Measure once, in the reader's thread."""
        data_dir = reader.folder.path
        warnings: list[str] = []
        status = _read_status(reader, warnings)
        if self._waiting_files is None:
            self._waiting_files = WaitingFiles(reader.folder)
        waiting = self._waiting_files.count(now)
        if waiting.warning:
            warnings.append(waiting.warning)
        disk = shutil.disk_usage(data_dir) if data_dir.exists() else None
        share = disk.free / disk.total if disk else 1.0
        oldest, journal_bytes = _look_at_journal(data_dir)
        if oldest and now - oldest > self._longest_in_journal:
            warnings.append(
                f"Deliveries wait in the journal for {age(now - oldest)}: no receiver is running, or it "
                "can't write to landing. Start `verbex-sync serve`, or read its log."
            )
        warnings.extend(_look_at_clock(status, now))
        if share < _LITTLE_DISK_SHARE:
            warnings.append(f"The disk of the data folder is nearly full: {share:.1%} is free. Make room.")
        health = Health(
            measured_at=now,
            status=status,
            files_waiting=waiting.files,
            files_missing=waiting.missing,
            journal_bytes=journal_bytes,
            disk_free_bytes=disk.free if disk else 0,
            disk_free_share=share,
        )
        return replace(health, warnings=(*self._reasons_not_live(health, reader), *warnings))

    def _reasons_not_live(self, health: Health, reader: Reader) -> tuple[str, ...]:
        """Return that nothing loads what waits, once it has waited for longer than a sync takes to begin."""
        published_at = health.published_at
        if not health.files_waiting or published_at is None:
            self._waiting_since = None
            return ()
        since, now = self._waiting_since, health.measured_at
        if since is None or since > now or self._waiting_at != published_at:  # or the clock was set back
            since = now
            self._waiting_since, self._waiting_at = since, published_at
        is_new = now - since < _PATIENCE
        if is_new or reader.folder.warehouse.is_being_written():
            return ()
        reason = (
            f"The tables are {age(health.measured_at - published_at)} old: no sync is running that loads "
            f"what came since, and {counted(health.files_waiting, 'landed file')} can't be seen here. "
            "Start `verbex-sync sync --follow`, or read what it prints."
        )
        return (reason,)


def _read_status(reader: Reader, warnings: list[str]) -> dict[str, object]:
    try:
        reader.reopen()
        (row,) = reader.ask_sql("from pipeline_status", {})
    except OperatorError as error:
        warnings.append(str(error))
        return {}
    return row


def _look_at_clock(status: Mapping[str, object], now: datetime) -> Iterator[str]:
    times = (status.get(name) for name in ("published_at", "last_received_at"))
    known = [at for at in times if isinstance(at, datetime)]
    if known and max(known) - now > _PATIENCE:
        yield (
            f"The tables are of {age(max(known) - now)} from now: the clock of this machine was set back, "
            "or that of the machine that receives or syncs is ahead. Ages and days shown are wrong. Set the "
            "clocks."
        )


def _look_at_journal(data_dir: Path) -> tuple[datetime | None, int]:
    """Return since when deliveries wait to be landed, and their size [bytes]."""
    oldest, size_bytes = None, 0
    for path in (data_dir / "journal").rglob(f"*{SEGMENT_SUFFIX}"):
        with suppress(OSError):  # it was landed meanwhile
            found = path.stat()
            size_bytes += found.st_size
            written_at = datetime.fromtimestamp(found.st_mtime, UTC)
            oldest = min(oldest or written_at, written_at)
    return oldest, size_bytes
