"""What tests of exports to files share: calls that land, and what an export wrote."""

from typing import Any

from pipelines.exports.export import Exported
from support.data_folder import NOON_US, DataFolder, body


def land_call(folder: DataFolder, number: int, *names: str, **payload: Any) -> None:  # noqa: ANN401
    """Land the events of one call, five seconds apart, and by one second later for each number."""
    events = [
        body(f"{name}{number}", name, f"c{number}", 5 * place, **payload) for place, name in enumerate(names)
    ]
    folder.land(events, received_at_us=NOON_US + number * 1_000_000)


def written(exported: Exported) -> dict[str, tuple[int, int]]:
    """Return the rows that were written and deleted, by table."""
    return {table: (each.rows_written, each.rows_deleted) for table, each in exported.tables.items()}
