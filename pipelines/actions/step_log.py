"""Steps that are durable at once, in a file on the local disk, and land together a moment later.

A file of this log, and what happens to it after a crash, belong here. So a request is known to be done as
soon as it is answered, and still landing has few files. The rows do not belong here: see
`pipelines.actions.steps`.

A file is named `<actor_id>-<number>.steps`. Each line is a CRC-32 in hex, and a step with its number as JSON.
A line that a kill cut off is no step: what it would have said was never relied on.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import msgspec

from connector.landing.files import Landing
from connector.system.files import fsync_data, fsync_path, make_folder
from pipelines.actions.steps import StepRow, land_steps

_SUFFIX = ".steps"
_DAMAGED_SUFFIX = ".damaged"
_DECODER = msgspec.json.Decoder(tuple[int, StepRow])


class StepLog:
    """The log of one process. Any thread may use it."""

    def __init__(self, folder: Path, landing: Landing, actor_id: str) -> None:
        self.actor_id = actor_id
        self._folder = folder
        self._landing = landing
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._files = 0
        self._sequence = 0
        self._lock = Lock()
        self._landing_lock = Lock()

    def append(self, steps: Sequence[StepRow]) -> None:
        """Store steps. When this returns, they survive a loss of power.

        Raises:
            OSError: The disk may hold them or not.
        """
        if not steps:
            return
        with self._lock:
            lines = [_line(self._sequence + place, step) for place, step in enumerate(steps)]
            self._sequence += len(steps)
            try:
                self._write(b"".join(lines))
            except OSError:
                self._close()  # an fsync that failed once may succeed later without having written anything
                raise

    def land(self) -> bool:
        """Land what is stored, and return whether there was anything.

        Raises:
            OSError: Landing can't store it. It stays in the log, and the next call tries again.
        """
        with self._landing_lock:
            with self._lock:
                self._close()
            return land_files(self._folder, self._landing, self.actor_id)

    def _write(self, data: bytes) -> None:
        descriptor = self._open()
        if os.write(descriptor, data) < len(data):
            raise OSError(f"{self._path}: not all bytes were written. Check if the disk is full.")
        fsync_data(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            make_folder(self._folder)
            self._files += 1
            self._path = self._folder / f"{self.actor_id}-{self._files:06d}{_SUFFIX}"
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            fsync_path(self._folder)
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def land_files(folder: Path, landing: Landing, actor_id: str = "") -> bool:
    """Land the closed files of a log, those of one process or of all that have ended.

    A file that is damaged is kept aside once what can be read of it has landed.

    Raises:
        OSError: Landing can't store them. They stay, and the next call tries again.
    """
    has_landed = False
    for path in sorted(folder.glob(f"{actor_id}*{_SUFFIX}")):
        writer, _, number = path.stem.rpartition("-")
        data = path.read_bytes()
        steps = list(_read(data))
        land_steps(landing, writer, steps, number=int(number))
        has_landed = has_landed or bool(steps)
        # only the last line may have been cut off by a kill
        if len(steps) < data.count(b"\n"):
            path.rename(path.with_suffix(_DAMAGED_SUFFIX))
        else:
            path.unlink()
    return has_landed


def _line(sequence: int, step: StepRow) -> bytes:
    text = msgspec.json.encode((sequence, step))
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _read(data: bytes) -> Iterator[tuple[int, StepRow]]:
    for line in data.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if text and checksum == b"%08x" % zlib.crc32(text):
            yield _DECODER.decode(text)
