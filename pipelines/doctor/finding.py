"""What one look found. Looking does not belong here."""

from typing import Literal, NamedTuple

State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        state: Whether it is well, is worth knowing, or must be fixed.
        what: A word or two.
        found: What was found, and the fix if there is one to make.
    """

    state: State
    what: str
    found: str
