"""Which files in landing are ours: those that stand where their own rows say.

The rule belongs here, and the words that name what breaks it. A landed file is named `<writer>-<number>`,
after the receiver or fetcher that wrote its rows, and stands in the folder of their UTC day. So a copy shows
by itself, whatever made it (a file manager, a sync tool, a backup restored beside the original), also if the
original is gone or was never loaded.
"""

import re
from datetime import date
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from connector.landing.zones import Zone

_NAME = re.compile(r"[A-Za-z0-9_~-]+")
_DAY = re.compile(r"date=(\d{4}-\d\d-\d\d)")
_HOW_TO_GO_ON = (
    "It was not loaded. Remove it if it is a copy. "
    "If the original is lost, give this one its name and its folder."
)


def is_day(name: str) -> bool:
    """Return whether a folder has a name that we give to the folder of a day."""
    found = _DAY.fullmatch(name)
    if found is None:
        return False
    try:
        date.fromisoformat(found[1])
    except ValueError:
        return False
    return True


def find_foreign_name(path: str) -> str | None:
    """Return why a file can't be ours by its name alone, or None."""
    name = PurePosixPath(path).stem
    if _NAME.fullmatch(name):
        return None
    return f"no writer of ours names a file {name!r}. {_HOW_TO_GO_ON}"


def find_misplacement(path: str, rows: pa.Table, zone: Zone) -> str | None:
    """Return why a file does not stand where its rows belong, or None if it does.

    Args:
        path: The file's path, relative to the landing root.
        rows: All its rows, with at least the writer's column and the time column of `zone`.
        zone: The zone that the file is in.
    """
    if foreign := find_foreign_name(path):
        return foreign
    if not rows.num_rows:
        return None
    folder, name = PurePosixPath(path).parent.name, PurePosixPath(path).stem
    writers = pc.unique(rows[zone.writer_column]).to_pylist()
    if len(writers) > 1:
        return f"its rows are of {len(writers)} writers, so it is a copy of a merged file. {_HOW_TO_GO_ON}"
    if not re.fullmatch(rf"{re.escape(writers[0])}(-\d+)?", name):
        return f"its rows were written by {writers[0]}, so it is a copy under another name. {_HOW_TO_GO_ON}"
    times = pc.min_max(rows[zone.time_column]).as_py()
    if any(f"date={time:%Y-%m-%d}" != folder for time in times.values()):
        return f"its rows are of {times['min']:%Y-%m-%d}, so it is a copy in another folder. {_HOW_TO_GO_ON}"
    return None
