"""Dagster's home under the data folder, so that a run from the command line shows in the UI.

`dagster dev` reads `.env` in the folder it is started in, and finds its home there.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import dagster as dg

from connector.system.env_file import add_variable, read_variable

# Nothing of ours prints; capturing standard output would start four processes for every run and wait for
# them to end.
# Runs start at once instead of waiting up to 5 s for the queue's daemon; the warehouse's own lock keeps
# two writers apart. All runs' events go to one database: a new one for each run, Dagster's default, costs
# a third of a small load's time.
_INSTANCE_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config:
    base_dir: {home}/events
retention:
  sensor:
    purge_after_days:
      skipped: 1
      failure: 7
      success: 1
"""
_VARIABLE = "DAGSTER_HOME"

EVENT_LOG = Path("events") / "event_log.db"
"""Where, in a home that we made, Dagster keeps all runs' events."""


def own_home(data_dir: Path) -> Path:
    """The home that is made where none is set."""
    return data_dir / "dagster"


def ensure_home(data_dir: Path, env_file: Path) -> Path:
    """Make Dagster's home and let this process, and `dagster dev` in this folder, find it.

    A home that is already set is left as it is. An `env_file` that can't be written is left too: it may well
    be mounted into a container, and only `dagster dev` would then have to be told the home.

    Returns:
        The home in use.
    """
    remembered = read_variable(env_file, _VARIABLE)
    home = Path(os.environ.get(_VARIABLE) or remembered or own_home(data_dir))
    make_home(home)
    if remembered is None:
        with suppress(OSError):
            add_variable(env_file, _VARIABLE, str(home))
    os.environ[_VARIABLE] = str(home)
    return home


def make_home(home: Path) -> None:
    """Make a folder a Dagster home, unless it is one."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_INSTANCE_YAML.format(home=home), encoding="utf-8")


def open_instance() -> dg.DagsterInstance:
    """The Dagster instance of the home in use."""
    return dg.DagsterInstance.get()


@contextmanager
def hold_event_log(home: Path) -> Iterator[None]:
    """Keep one connection to the event log open, if `home` is one that we made.

    Dagster opens a connection for each event, and whenever the last one closes, SQLite folds its write-ahead
    log into the database and waits for the disk: half of the time of a small load.
    """
    if not (home / EVENT_LOG).exists():
        yield
        return
    with closing(sqlite3.connect(home / EVENT_LOG, timeout=60, check_same_thread=False)) as connection:
        connection.execute("select count(*) from sqlite_master").fetchall()  # connects for good
        yield
