"""Seeded random values: they depend only on names, not on the order of the requests for them.

Only the drawing of values belongs here. Their use does not.
"""

import random
from uuid import UUID


def rng_for(*names: object) -> random.Random:
    """Return a generator that depends only on `names`."""
    return random.Random(":".join(str(name) for name in names))  # noqa: S311 - reproducible, protects nothing


def uuid_from(rng: random.Random) -> str:
    """Return a version 4 UUID drawn from `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def object_id(started_us: int, rng: random.Random) -> str:
    """Return a MongoDB ObjectId: the second of its creation in 8 hex digits, then 16 random ones."""
    return f"{started_us // 1_000_000:08x}{rng.getrandbits(64):016x}"
