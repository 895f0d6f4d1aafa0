"""Data folders whose rules act, for tests: what they want is found as follow mode does, without sending."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from connector.landing.zones import ACTIONS
from connector.settings import Settings
from connector.verbex.transport import utc_now
from pipelines.actions.dispatcher import Dispatcher
from pipelines.actions.look import Lookout, Seen
from pipelines.actions.paths import state_dir_of
from pipelines.actions.senders import Senders
from pipelines.actions.step_log import StepLog, land_files
from pipelines.actions.steps import new_actor_id
from support.data_folder import DataFolder, body

NAMED_AT = datetime(2025, 11, 9, 12, tzinfo=UTC)
"""When the rules of these tests are named, unless they say otherwise."""
AFTER_S = int(NAMED_AT.timestamp()) - 1_762_600_000
"""That moment in the seconds of `support.data_folder.body`."""
STARTED, ENDED = "CallHandler.CallStarted", "CallHandler.CallEnded"

_MINE = """-- A test.
--
-- action: http
-- once per: call_id
{more}
select call_id, status, ended_at as happened_at
from calls
where ended_at is not null
"""


def acting(path: Path, *rules: str, own: Path | None = None) -> DataFolder:
    """Return a data folder in which these rules act."""
    return DataFolder(path, own_sql_dir=own, rules=rules)


def write_rule(own: Path, text: str = _MINE, *, name: str = "mine", more: str = "") -> Path:
    """Write a rule of a customer's own, and return its file."""
    path = own / "rules" / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(more=more) if "{more}" in text else text, encoding="utf-8")
    return path


def call(number: int, at_s: float) -> list[bytes]:
    """Return the start and the end of a call that began `at_s` seconds after the rules were named."""
    return [
        body(f"s{number}", STARTED, f"call-{number}", AFTER_S + at_s),
        body(f"e{number}", ENDED, f"call-{number}", AFTER_S + at_s + 60),
    ]


class Watcher:
    """One process that looks at published tables, and lands what it decides."""

    def __init__(self, folder: DataFolder, at: datetime = NAMED_AT) -> None:
        self.folder = folder
        self.at = at
        actor_id = new_actor_id(datetime.now(UTC), random.Random())
        self.log = StepLog(state_dir_of(folder), folder.landing, actor_id)
        land_files(state_dir_of(folder), folder.landing)
        self.lookout = Lookout(folder, state_dir_of(folder), self.log, lambda: self.at)

    def look(self) -> Seen:
        """Look at tables that are new, without landing."""
        seen = self.lookout.look(())
        assert seen is not None
        return seen

    def wanted(self) -> list[str]:
        """Bring the tables up to date, look, land, and return the identities of what is new."""
        self.folder.sync()
        seen = self.lookout.look(())
        self.log.land()
        return [] if seen is None else [action.identity for action in seen.actions]


def landed_steps(folder: DataFolder) -> list[dict[str, Any]]:
    """Return all steps that have landed, in the order of their files."""
    files = folder.landing.list_files(ACTIONS)
    return [row for file in files for row in folder.landing.read(file, ACTIONS.schema).to_pylist()]


def seconds_of(at: datetime) -> float:
    """Return a moment in the seconds that `call` takes."""
    return (at - NAMED_AT).total_seconds()


def later(seconds: float = 1) -> float:
    """Return a moment from now in the seconds that `call` takes, before which its end lies."""
    return seconds_of(datetime.now(UTC)) + seconds


async def act(settings: Settings, folder: DataFolder, clock: Callable[[], datetime] = utc_now) -> Dispatcher:
    """Act once on what is published, as a process of its own, and return what did it."""
    said: list[str] = []
    rng = random.Random()
    senders = Senders(settings, folder, rng, clock)
    dispatcher = Dispatcher(folder, senders, clock, rng, said.append)
    await dispatcher.act_once()
    return dispatcher


async def act_on(
    settings: Settings, folder: DataFolder, bodies: Iterable[bytes], clock: Callable[[], datetime] = utc_now
) -> Dispatcher:
    """Land deliveries, bring the tables up to date, act once, and load what became of it."""
    folder.land(bodies)
    folder.sync(published_at=clock())
    dispatcher = await act(settings, folder, clock)
    folder.sync(published_at=clock())
    return dispatcher


def settings_of(folder: DataFolder, **options: Any) -> Settings:  # noqa: ANN401
    """Return settings of a folder in which its rules act, with `options` of rules such as `MINE_URL`."""
    named = {
        name: options.pop(name)
        for name in list(options)
        if name.endswith(("_URL", "_SECRET", "_HEADERS", "_TO"))
    }
    chosen = {f"VERBEX_ACTION_{name}": SecretStr(value) for name, value in named.items()}
    return Settings(
        _env_file=None, data_dir=folder.path, actions=folder.rules, action_options=chosen, **options
    )
