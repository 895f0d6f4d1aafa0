"""A script for tests that syncs a data folder: once, or repeatedly until it kills itself.

`sync_process.py FOLDER` syncs once. `sync_process.py FOLDER STEP DELAY_S` syncs until line STEP of the code
that writes the warehouse, and ends by SIGKILL DELAY_S seconds later, anywhere in the code. The moment is
random but can be repeated. With `refresh` as one more argument, every sync builds all tables from scratch.
"""

import sys
from pathlib import Path

from pipelines.warehouse import database, files, ledger, loader, refresh, session, tables

sys.path.insert(0, str(Path(__file__).parents[1]))  # it runs by itself, without pytest's path

from support.data_folder import DataFolder
from support.death import die_at

_WRITERS = frozenset(
    module.__file__ for module in (database, files, ledger, loader, refresh, session, tables)
)


def main() -> None:
    """Do what the arguments say."""
    folder = DataFolder(Path(sys.argv[1]))
    if len(sys.argv) == 2:
        folder.sync()
        return
    step, delay_s, is_full_refresh = int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:] == ["refresh"]
    die_at(step, delay_s, _WRITERS)
    while True:
        folder.sync(is_full_refresh=is_full_refresh)


if __name__ == "__main__":
    main()
