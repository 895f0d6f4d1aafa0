"""Dagster's home in the data folder, so that a run from the command line shows in the UI.

Finding and making the home belong here. What is recorded in it does not. The home follows the data folder: no
path of this machine is remembered outside it, so that a folder that is moved or copied never writes into
another one.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import dagster as dg

from connector.errors import OperatorError
from connector.system.env_file import read_variable
from connector.system.files import make_folder
from connector.system.lock import PATIENCE_S, hold_lock
from pipelines.instance.abandoned import fail_abandoned_runs

logger = logging.getLogger(__name__)

# Our steps print nothing, and capturing standard output would start four processes for every run and wait for
# them to end. Runs start at once instead of waiting up to 5 s for the queue's daemon. The warehouse's own
# lock keeps two writers apart. The events of all runs go to one database: Dagster's default, one database for
# each run, costs a third of a small load's time.
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
  module: pipelines.instance.storage
  class: EventLog
  config:
    base_dir: {events}
retention:
  sensor:
    purge_after_days:
      skipped: 1
      failure: 7
      success: 1
"""
# At Dagster's usual level a run prints some hundred lines.
_LOGS = """\
python_logs:
  python_log_level: INFO
"""
_BASE_DIR = re.compile(r"(?<=class: EventLog\n  config:\n    base_dir: ).*")
_EARLIER_CLASS = "module: dagster._core.storage.event_log\n  class: ConsolidatedSqliteEventLogStorage\n"
_CLASS = "module: pipelines.instance.storage\n  class: EventLog\n"
_VARIABLE = "DAGSTER_HOME"

# Dagster reads a path as a URL and as a pattern, and would keep its records somewhere else.
_MISREAD = frozenset("%?*[]")

EVENT_LOG = Path("events") / "event_log.db"
"""The path, within a home that we made, of the database with the events of all runs."""


class HomePathError(OperatorError):
    """A path that Dagster can't use for its home."""


def own_home(data_dir: Path) -> Path:
    """Return the home that is made if none is set."""
    return data_dir / "dagster"


def ensure_home(data_dir: Path, env_file: Path) -> Path:
    """Make Dagster's home, and let this process and its children find it.

    A home that a person has set, in the environment or in `env_file`, is used as it is.

    Returns:
        The home in use.

    Raises:
        HomePathError: Dagster can't use a path with these characters.
    """
    home = Path(os.environ.get(_VARIABLE) or _read_home(data_dir, env_file) or own_home(data_dir))
    make_home(home)
    os.environ[_VARIABLE] = str(home)
    return home


def make_home(home: Path) -> None:
    """Make a folder a Dagster home, unless it is one already. One that was moved finds its records again.

    Raises:
        HomePathError: Dagster can't use a path with these characters.
    """
    if _MISREAD & set(str(home)):
        raise HomePathError(
            f"Dagster can't keep its records at {home}: it misreads the characters % ? * [ ] in a path."
            f" Set {_VARIABLE} to a folder without them."
        )
    make_folder(home.parent)
    home.mkdir(exist_ok=True)
    config = home / "dagster.yaml"
    # Quoted, for paths that mean something in YAML, which does not know JSON's two escapes for one emoji.
    events = json.dumps(str(home / EVENT_LOG.parent), ensure_ascii=False)
    if not config.exists():
        config.write_text(_INSTANCE_YAML.format(events=events) + _LOGS, encoding="utf-8")
        return
    text = config.read_text(encoding="utf-8")
    current = _BASE_DIR.sub(lambda _: events, text.replace(_EARLIER_CLASS, _CLASS))
    if _BASE_DIR.search(current) and not re.search(r"^python_logs:", text, re.MULTILINE):
        current = f"{current.rstrip()}\n{_LOGS}"  # of an earlier version
    if current != text:
        config.write_text(current, encoding="utf-8")


def _read_home(data_dir: Path, env_file: Path) -> str | None:
    """Read the home from `env_file`, where an earlier version remembered the one it had made."""
    home = read_variable(env_file, _VARIABLE)
    is_made = home is not None and Path(home).parts[-2:] == own_home(data_dir).parts[-2:]
    if is_made and Path(str(home)) != own_home(data_dir):
        logger.warning(
            "%s in %s names the home of another data folder, which was moved or copied. It is not used:"
            " remove that line.",
            _VARIABLE,
            env_file,
        )
        return None
    return home


@contextmanager
def open_instance(data_dir: Path, env_file: Path) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage in the home in use. If it can't be used, warn, and keep the records in memory.

    Args:
        data_dir: The folder in which a home is made if none is set.
        env_file: The file in which a person may have set a home.
    """
    with ExitStack() as stack:
        try:
            home = ensure_home(data_dir, env_file)
            instance = stack.enter_context(open_home(home, data_dir))
            fail_abandoned_runs(instance)
            instance.get_asset_keys()  # damaged storage fails at its first use
        except Exception as error:  # noqa: BLE001 - a full disk, a damaged database, a home of another version
            stack.close()
            logger.warning(
                "Dagster's home can't be used, so the Dagster UI will not show this run: %s: %s."
                " Fix the home or remove it; the tables do not depend on it.",
                type(error).__name__,
                error,
            )
            instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        yield instance


def open_home(home: Path, data_dir: Path) -> dg.DagsterInstance:
    """Open the storage in a home from `ensure_home`. In one that we made, one process at a time does.

    Two that make the same databases at once would spoil them for good.

    Raises:
        LockHeldError: Another process has been opening it for over a minute.
    """
    is_own = home == own_home(data_dir)  # one that a person has set may be read-only, with a server behind it
    with hold_lock(data_dir / "dagster.lock", wait_s=PATIENCE_S) if is_own else nullcontext():
        return dg.DagsterInstance.get()
