"""Counts as a person writes them: `1 delivery`, `2 deliveries`, `1,200 calls`.

Only the words for a number of things belong here.
"""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, which is given in the singular."""
    return f"{count:,} {noun if count == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeou" else f"{noun}s"
