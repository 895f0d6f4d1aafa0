"""A script for tests that exports a data folder, and ends by SIGKILL at a chosen line.

`export_process.py FOLDER STEP DELAY_S` reads the target's URL from standard input. It kills itself DELAY_S
seconds after line STEP of the code of exports, unless it is done before.
"""

import sys
from pathlib import Path

from pipelines.exports import (
    change,
    csv_files,
    csv_state,
    export,
    local_files,
    postgresql,
    postgresql_views,
    xlsx,
    xlsx_cells,
    xlsx_reading,
    xlsx_sheets,
)

sys.path.insert(0, str(Path(__file__).parents[1]))  # it runs by itself, without pytest's path

from support.data_folder import DataFolder
from support.death import die_at

_MODULES = (change, export, postgresql, postgresql_views)
_FILES = (csv_files, csv_state, local_files, xlsx, xlsx_cells, xlsx_reading, xlsx_sheets)
EXPORTERS = frozenset(module.__file__ for module in (*_MODULES, *_FILES))


def main() -> None:
    """Do what the arguments say."""
    folder, url = DataFolder(Path(sys.argv[1])), sys.stdin.read()
    die_at(int(sys.argv[2]), float(sys.argv[3]), EXPORTERS)
    export.export(folder, url, wait_s=10.0)


if __name__ == "__main__":
    main()
