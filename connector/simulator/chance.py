"""Seeded chance: random values that follow from names alone, in whatever order they are asked for.

Only the drawing of values belongs here; what they are used for does not.
"""

import random
from uuid import UUID


def rng_for(*names: object) -> random.Random:
    """A generator that depends on `names` and on nothing else."""
    return random.Random(":".join(str(name) for name in names))  # noqa: S311 - reproducible, guards nothing


def uuid_from(rng: random.Random) -> str:
    """A version 4 UUID drawn from `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def object_id(started_us: int, rng: random.Random) -> str:
    """A MongoDB ObjectId: the second of its making in 8 hex digits, then 16 drawn ones."""
    return f"{started_us // 1_000_000:08x}{rng.getrandbits(64):016x}"
