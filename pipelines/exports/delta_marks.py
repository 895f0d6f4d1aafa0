"""What commits of ours carry, by which a Delta table says itself that it is ours and where it stands.

Only these marks belong here. What is committed does not: see `pipelines.exports.delta`.

The id of a publish is kept as two application transactions of 64 bits each: these survive checkpoints and
cleaned logs, and of two exporters at once only one can commit.
"""

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

HALVES = ("verbex-sync publish, first half", "verbex-sync publish, second half")
_NOTE = "verbex_sync_publish"
_KEEPING_ROWS = ("OPTIMIZE", "VACUUM")
_COMMITS_LOOKED_AT = 100


def publish_of(copy: "DeltaTable") -> UUID | None:
    """Return the id of the publish of our last commit, None if we made none."""
    halves = [copy.transaction_version(name) for name in HALVES]
    found = [half.to_bytes(8, "big", signed=True) for half in halves if half is not None]
    return UUID(bytes=b"".join(found)) if len(found) == len(halves) else None


def is_changed_by_others(copy: "DeltaTable") -> bool:
    """Return whether somebody changed rows after our last commit, so that they are to be compared."""
    for count in (1, _COMMITS_LOOKED_AT):  # mostly the newest commit is ours
        for commit in copy.history(count):
            if _NOTE in commit:
                return False
            if not commit.get("operation", "").startswith(_KEEPING_ROWS):
                return True
    return False


def commit_properties(publish_id: UUID) -> "CommitProperties":
    """Return what a commit carries that brings a table to a publish."""
    from deltalake import CommitProperties, Transaction

    halves = (publish_id.bytes[:8], publish_id.bytes[8:])
    return CommitProperties(
        custom_metadata={_NOTE: str(publish_id)},
        app_transactions=[
            Transaction(name, int.from_bytes(half, "big", signed=True))
            for name, half in zip(HALVES, halves, strict=True)
        ],
    )
