"""How far the published tables were looked at for each rule, so that the next look costs what is new.

The file that remembers it belongs here. It is only a help: without it everything is looked at again, and what
was acted on is known by its action.
"""

import os
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from connector.system.files import make_folder


class Position(msgspec.Struct, frozen=True):
    """The publish that a rule was looked at last, when that was (UTC), and the rule's version then.

    Where its table could not be used, the version is `FAILED`, and the time that of the last look before.
    """

    publish_id: UUID
    looked_at: datetime
    version: str


FAILED = ""
"""The version of a rule whose table could not be used: all of it is to be looked at once it can."""

_DECODER = msgspec.json.Decoder(dict[str, Position])


def read_positions(folder: Path) -> dict[str, Position]:
    """Return the position of each rule, empty if none is known."""
    try:
        return _DECODER.decode((folder / "position.json").read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def write_positions(folder: Path, positions: dict[str, Position]) -> None:
    """Remember the positions. A kill leaves the old ones or the new ones.

    Raises:
        OSError: The file can't be written.
    """
    make_folder(folder)
    aside = folder / f".position.{os.getpid()}.tmp"
    aside.write_bytes(msgspec.json.encode(positions))
    aside.rename(folder / "position.json")
