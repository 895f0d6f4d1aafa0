"""Sends what rules want: whose turn it is, in one process that looks at what is published.

When attempts begin and end belongs here. What is wanted does not: see `pipelines.actions.look`. What
surrounds one attempt does not either: see `pipelines.actions.attempts`.

The attempts of a rule have room of their own, so that a slow or dead destination holds up no other rule.
Whatever an attempt came to is durable before its room is free again.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from connector.settings import Settings
from connector.system.files import make_folder
from connector.system.lock import hold_lock
from connector.verbex.transport import utc_now
from pipelines.actions.attempts import Acted, Attempts, Clock
from pipelines.actions.backlog import Backlog, Waiting
from pipelines.actions.holding import LONGEST_LIMIT, PAUSE_AFTER_FAULT
from pipelines.actions.look import Lookout, Seen
from pipelines.actions.paths import lock_of, state_dir_of
from pipelines.actions.pause import is_paused
from pipelines.actions.published import Row, list_attempt_times
from pipelines.actions.senders import Senders
from pipelines.actions.step_log import StepLog, land_files
from pipelines.actions.steps import new_actor_id
from pipelines.models.rule import Rule
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError

WORKERS = {"http": 8, "email": 4, "dial": 8}
"""How many attempts of one rule may be on their way at the same time, by kind."""
_LOOK_EVERY_S = 0.1
_TURN_S = 0.05
_LAST_WAIT_S = 5.0
_LAND_EVERY_S = 0.5
_LAND_IN_BUCKET_EVERY_S = 2.0  # each file is a request that costs money
_STORE_AGAIN_S = 1.0

Echo = Callable[[str], None]


@dataclass
class Dispatcher:
    """What is sent for one data folder. Only one process at a time may run one."""

    folder: DataFolder
    senders: Senders
    clock: Clock
    rng: random.Random
    echo: Echo
    _log: StepLog = field(init=False)
    _attempts: Attempts = field(init=False)
    _lookout: Lookout = field(init=False)
    _rules: dict[str, Rule] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)
    _servers: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _is_ending: bool = False

    def __post_init__(self) -> None:
        """Name this process."""
        state_dir = state_dir_of(self.folder)
        actor_id = new_actor_id(self.clock(), self.rng)
        self._log = StepLog(state_dir, self.folder.landing, actor_id)
        self._lookout = Lookout(self.folder, state_dir, self._log, self.clock)
        self._attempts = Attempts(self.folder.path, self.senders, self._log, self.clock, self.rng, self._say)

    def take_done(self) -> dict[str, Acted]:
        """Return what was done since this was asked last, by rule."""
        done, self._attempts.done = self._attempts.done, {}
        return done

    async def follow(self) -> None:
        """Act on every publish, until cancelled. What was done then lands.

        Raises:
            LockHeldError: Another process acts for this data folder.
            OSError: What is wanted can't be stored.
        """
        async with self._working():
            lander = asyncio.create_task(self._land_regularly())
            try:
                while True:
                    await self._look()
                    await asyncio.sleep(_LOOK_EVERY_S)
            finally:
                lander.cancel()

    async def act_once(self) -> None:
        """Act on what is published now: make each attempt that is due. What is to be tried again waits.

        Raises:
            LockHeldError: Another process acts for this data folder.
            OSError: What is wanted can't be stored.
        """
        async with self._working():
            await self._look()
            began_at = self.clock()
            while not is_paused(self.folder.path) and self._is_busy(min(began_at, self.clock())):  # noqa: ASYNC110 - many end it
                await asyncio.sleep(_TURN_S)

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        make_folder(self.folder.path)
        with hold_lock(lock_of(self.folder)):
            await asyncio.to_thread(land_files, state_dir_of(self.folder), self.folder.landing)
            try:
                async with self.senders:
                    try:
                        yield
                    finally:
                        await self._end_attempts()
            finally:
                self._log.land()

    def _is_busy(self, began_at: datetime) -> bool:
        """Return whether an attempt is on its way, or one is due that was due when this began."""
        backlogs = self._attempts.backlogs
        due = (backlogs[name].next_due_at() for name in self._rules if name in backlogs)
        return bool(self._tasks) or any(at is not None and at <= began_at for at in due)

    async def _end_attempts(self) -> None:
        """Let what is on its way arrive, if it does soon: what is cut off is made once more."""
        self._is_ending = True
        tasks = {*self._servers.values(), *self._tasks}
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WAIT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _land_regularly(self) -> None:
        every_s = _LAND_EVERY_S if self.folder.landing.is_local else _LAND_IN_BUCKET_EVERY_S
        while True:
            await asyncio.sleep(every_s)
            try:
                await asyncio.to_thread(self._log.land)
            except OSError as error:
                self._say("landing", f"What became of actions can't land: {error}. It is tried again.")
            else:
                self._say("landing", "")

    async def _look(self) -> None:
        backlogs = self._attempts.backlogs.values()
        known = [each.action.action_id for backlog in backlogs for each in backlog.list_all()]
        try:
            seen = await asyncio.to_thread(self._lookout.look, [*known, *self._attempts.settled])
        except NothingPublishedError:
            await asyncio.to_thread(self._lookout.name_first)
            return
        except OSError as error:
            self._say("storing", f"What rules want can't be stored: {error}. It is looked for again.")
            return
        if seen is not None:
            self._take_in(seen)

    def _take_in(self, seen: Seen) -> None:
        self._rules = seen.rules
        self._say_problems(seen)
        if seen.is_first:
            with self.folder.read() as connection:
                times = list_attempt_times(connection, self.clock() - LONGEST_LIMIT)
            self._attempts.attempted = {rule: deque(each) for rule, each in times.items()}
        for row in seen.cancelled:
            self._attempts.settled[row.waiting.action.action_id] = row.waiting.round
        for row in seen.rows:
            self._take_in_row(row)
        for action in seen.actions:
            self._attempts.count(action.rule, "intended")
            self._attempts.backlog(action.rule).add(Waiting(action, action.due_at))
        for name in self._rules:
            is_served = name in self._servers and not self._servers[name].done()
            if len(self._attempts.backlog(name)) and not is_served:
                self._servers[name] = asyncio.create_task(self._serve(name))

    def _say_problems(self, seen: Seen) -> None:
        for name, problem in seen.problems.items():
            self._say(name, f"The rule {name} does not act: {problem}")
        for name in seen.rules.keys() - seen.problems.keys():
            self._say(name, "")

    def _take_in_row(self, row: Row) -> None:
        """Take in what the tables say of an action: what this process did itself, it knows better."""
        action_id = row.waiting.action.action_id
        backlog = self._attempts.backlog(row.waiting.action.rule)
        mine = backlog.find(action_id)
        if mine is not None:
            _take_in_person(backlog, mine, row)
        elif row.waiting.round > self._attempts.settled.get(action_id, 0):
            self._attempts.settled.pop(action_id, None)
            if row.is_unsettled:
                backlog.add(row.waiting)
        elif not row.is_unsettled:
            self._attempts.settled.pop(action_id, None)

    async def _serve(self, name: str) -> None:
        """Begin the attempts of one rule when they are due, until nothing waits."""
        room = asyncio.Semaphore(WORKERS[self._rules[name].kind])
        backlog = self._attempts.backlog(name)
        while len(backlog) and not self._is_ending:
            await room.acquire()
            rule, now = self._rules.get(name), self.clock()
            waiting = None if rule is None or is_paused(self.folder.path) else backlog.take(now)
            if rule is None or waiting is None:
                room.release()
                await asyncio.sleep(_TURN_S)
                continue
            attempt = asyncio.create_task(self._handle_safely(rule, waiting, now))
            self._tasks.add(attempt)
            attempt.add_done_callback(self._tasks.discard)
            attempt.add_done_callback(lambda _: room.release())

    async def _handle_safely(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        try:
            await self._attempts.handle(rule, waiting, now)
        except Exception as error:  # noqa: BLE001 - one action must not stop the others of its rule
            self._say(rule.name, f"The rule {rule.name} failed: {type(error).__name__}: {error}")
            self._attempts.put_back(waiting, now + PAUSE_AFTER_FAULT)

    def _say(self, about: str, text: str) -> None:
        """Say a problem once, until it is another one or gone, which an empty text says."""
        if text and self._problems.get(about) != text:
            self.echo(text)
        self._problems[about] = text


def _take_in_person(backlog: Backlog, mine: Waiting, row: Row) -> None:
    """Take in what a person did about an action that waits or is on its way."""
    if row.waiting.round > mine.round:
        mine.round, mine.attempts, mine.is_dropped = row.waiting.round, 0, not row.is_unsettled
        mine.steps = max(mine.steps, row.waiting.steps)
        mine.action = row.waiting.action
        if row.is_unsettled:
            backlog.hasten(mine, row.waiting.due_at)
    elif row.last_step in ("cancelled", "settled"):
        mine.is_dropped = True
    if mine.is_dropped and not mine.is_running:
        backlog.settle(mine)


def new_dispatcher(settings: Settings, folder: DataFolder, echo: Echo) -> Dispatcher:
    """Return what sends what the rules of the settings want, by the clock of this machine."""
    rng = random.SystemRandom()
    return Dispatcher(folder, Senders(settings, folder, rng, utc_now), utc_now, rng, echo)
