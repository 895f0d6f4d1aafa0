"""Sends what rules want, once: the look at the tables, and what surrounds each attempt.

When an attempt may be made, and what is stored of it, belongs here. What is wanted does not: see
`pipelines.actions.look`. How one attempt is made does not either: see `pipelines.actions.senders`.

The attempts of a rule have room of their own, so that a slow or dead destination holds up no other rule.
Whatever an attempt came to is durable before its room is free again.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from connector.errors import OperatorError
from connector.landing.zones import Step
from connector.settings import Settings
from connector.system.files import make_folder
from connector.system.lock import hold_lock
from connector.verbex.transport import utc_now
from pipelines.actions.action import Answer
from pipelines.actions.backlog import Backlog, Waiting
from pipelines.actions.holding import LONGEST_LIMIT, PAUSE_AFTER_FAULT, reason_to_hold
from pipelines.actions.look import Lookout, Seen
from pipelines.actions.paths import lock_of, state_dir_of
from pipelines.actions.patience import MOST_ATTEMPTS, pause_after
from pipelines.actions.pause import is_paused
from pipelines.actions.published import Row, list_attempt_times
from pipelines.actions.senders import Senders
from pipelines.actions.step_log import StepLog, land_files
from pipelines.actions.steps import StepRow, new_actor_id, step_of
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

Clock = Callable[[], datetime]
Echo = Callable[[str], None]


@dataclass
class Acted:
    """What was done for one rule, to be told to people."""

    counts: Counter[str] = field(default_factory=Counter)
    """Attempts by what they came to, and `intended`."""
    delays_s: list[float] = field(default_factory=list)
    """From the fact to the delivery, of what was sent [s]."""


@dataclass
class Dispatcher:
    """What is sent for one data folder. Only one process at a time may run one."""

    folder: DataFolder
    senders: Senders
    clock: Clock
    rng: random.Random
    echo: Echo
    done: dict[str, Acted] = field(default_factory=dict)
    """What was done, by rule, until somebody takes it."""
    _log: StepLog = field(init=False)
    _lookout: Lookout = field(init=False)
    _rules: dict[str, Rule] = field(default_factory=dict)
    _backlogs: dict[str, Backlog] = field(default_factory=dict)
    _settled: dict[str, int] = field(default_factory=dict)
    """The round in which this process has settled an action, until the tables know it."""
    _problems: dict[str, str] = field(default_factory=dict)
    _attempted: dict[str, deque[datetime]] = field(default_factory=dict)
    _servers: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _attempts: set["asyncio.Task[None]"] = field(default_factory=set)
    _is_ending: bool = False

    def __post_init__(self) -> None:
        """Name this process."""
        state_dir = state_dir_of(self.folder)
        actor_id = new_actor_id(self.clock(), self.rng)
        self._log = StepLog(state_dir, self.folder.landing, actor_id)
        self._lookout = Lookout(self.folder, state_dir, self._log, self.clock)

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
            while not is_paused(self.folder.path) and self._is_busy(began_at):  # noqa: ASYNC110 - many end it
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
        due = (backlog.next_due_at() for name, backlog in self._backlogs.items() if name in self._rules)
        return bool(self._attempts) or any(at is not None and at <= began_at for at in due)

    async def _end_attempts(self) -> None:
        """Let what is on its way arrive, if it does soon: what is cut off is made once more."""
        self._is_ending = True
        tasks = {*self._servers.values(), *self._attempts}
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
                self._problems.pop("landing", None)

    async def _look(self) -> None:
        known = [each.action.action_id for backlog in self._backlogs.values() for each in backlog.list_all()]
        try:
            seen = await asyncio.to_thread(self._lookout.look, [*known, *self._settled])
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
            self._attempted = {rule: deque(each) for rule, each in times.items()}
        for row in seen.rows:
            if row.is_unsettled and row.waiting.action.rule in seen.switched_on:
                reason = "the rule was switched off meanwhile"
                self._log.append([self._next_step(row.waiting, "cancelled", error=reason)])
            else:
                self._take_in_row(row)
        for action in seen.actions:
            self._count(action.rule, "intended")
            self._backlog(action.rule).add(Waiting(action, action.due_at))
        for name in self._rules:
            if len(self._backlog(name)) and (name not in self._servers or self._servers[name].done()):
                self._servers[name] = asyncio.create_task(self._serve(name))

    def _say_problems(self, seen: Seen) -> None:
        for name, problem in seen.problems.items():
            self._say(name, f"The rule {name} does not act: {problem}")
        for name in self._problems.keys() & seen.rules.keys() - seen.problems.keys():
            del self._problems[name]

    def _take_in_row(self, row: Row) -> None:
        """Take in what the tables say of an action: what this process did itself, it knows better."""
        action_id = row.waiting.action.action_id
        backlog = self._backlog(row.waiting.action.rule)
        mine = backlog.find(action_id)
        if mine is not None:
            _take_in_person(backlog, mine, row)
        elif row.waiting.round > self._settled.get(action_id, 0):
            self._settled.pop(action_id, None)
            if row.is_unsettled:
                backlog.add(row.waiting)
        elif not row.is_unsettled:
            self._settled.pop(action_id, None)

    def _backlog(self, rule: str) -> Backlog:
        return self._backlogs.setdefault(rule, Backlog())

    async def _serve(self, name: str) -> None:
        """Begin the attempts of one rule when they are due, until nothing waits."""
        room = asyncio.Semaphore(WORKERS[self._rules[name].kind])
        backlog = self._backlog(name)
        while len(backlog) and not self._is_ending:
            await room.acquire()
            rule, now = self._rules.get(name), self.clock()
            waiting = None if rule is None or is_paused(self.folder.path) else backlog.take(now)
            if rule is None or waiting is None:
                room.release()
                await asyncio.sleep(_TURN_S)
                continue
            attempt = asyncio.create_task(self._handle_safely(rule, waiting, now))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            attempt.add_done_callback(lambda _: room.release())

    async def _handle_safely(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        try:
            await self._handle(rule, waiting, now)
        except Exception as error:  # noqa: BLE001 - one action must not stop the others of its rule
            self._say(rule.name, f"The rule {rule.name} failed: {type(error).__name__}: {error}")
            self._put_back(waiting, now + PAUSE_AFTER_FAULT)

    async def _handle(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        action = waiting.action
        if waiting.is_begun:
            answer = await self.senders.find_out(action, waiting.round)
            await self._store_answer(rule, waiting, answer)
        elif waiting.round == 1 and action.expires_at is not None and now > action.expires_at:
            await self._finish(waiting, "expired", error="it was too late: see its `not after:`")
        elif held := self._reason_to_hold(rule, now):
            await self._hold(waiting, *held)
        else:
            await self._attempt(rule, waiting, now)

    def _reason_to_hold(self, rule: Rule, now: datetime) -> tuple[str, datetime] | None:
        times = self._attempted.setdefault(rule.name, deque())
        return reason_to_hold(rule, times, now, self.senders.problem_of(rule))

    async def _hold(self, waiting: Waiting, reason: str, until: datetime) -> None:
        # said once for each reason, or a limit would fill the tables with rows
        if waiting.reason != reason:
            waiting.reason = reason
            await self._store(self._next_step(waiting, "held", error=reason, due_at=until))
            self._count(waiting.action.rule, "held")
        self._put_back(waiting, until)

    def _put_back(self, waiting: Waiting, due_at: datetime) -> None:
        """Let an action wait, unless a person has ended it meanwhile."""
        backlog = self._backlog(waiting.action.rule)
        if waiting.is_dropped:
            backlog.settle(waiting)
        else:
            backlog.put_back(waiting, due_at)

    async def _attempt(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        # what the tables give has no `keep:`, and a person may begin another round meanwhile
        action, round_number = replace(waiting.action, keep=rule.keep), waiting.round
        if action.kind == "dial":
            try:
                refused = await asyncio.to_thread(self.senders.refusal_of, rule, action)
            except OperatorError as error:
                await self._hold(waiting, str(error), now + PAUSE_AFTER_FAULT)
                return
            if refused is not None:
                await self._store_answer(rule, waiting, refused)
                return
            if waiting.is_dropped or is_paused(self.folder.path):
                self._put_back(waiting, now)
                return
            # durable and landed before the request, so that no crash can make it forgotten
            await self._store(self._next_step(waiting, "started"))
            await asyncio.to_thread(self._log.land)
            waiting.is_begun = True
        if rule.at_most is not None:
            self._attempted.setdefault(rule.name, deque()).append(now)
        answer = await self.senders.send(action, round_number)
        if answer.result == "unknown" and action.kind == "dial":
            answer = await self.senders.find_out(action, round_number)
        await self._store_answer(rule, waiting, answer)

    async def _store_answer(self, rule: Rule, waiting: Waiting, answer: Answer) -> None:
        waiting.attempts += 1
        waiting.is_begun = False
        waiting.reason = ""
        said = {
            "http_status": answer.http_status,
            "error": answer.error,
            "body": answer.body,
            "links": dict(answer.links) or None,
        }
        if answer.result != "tried":
            await self._finish(waiting, answer.result, **said)
        elif waiting.attempts >= MOST_ATTEMPTS:
            said["error"] = f"{answer.error}; it was tried {waiting.attempts} times, for a day"
            await self._finish(waiting, "failed", **said)
        else:
            due_at = self.clock() + pause_after(waiting.attempts, self.rng, answer.retry_after_s)
            await self._store(self._next_step(waiting, "tried", due_at=due_at, **said))
            self._count(rule.name, "tried")
            self._put_back(waiting, due_at)

    async def _finish(self, waiting: Waiting, step: Step, **said: object) -> None:
        row = self._next_step(waiting, step, **said)
        await self._store(row)
        self._settled[waiting.action.action_id] = waiting.round
        self._backlog(waiting.action.rule).settle(waiting)
        self._count(waiting.action.rule, step)
        if step == "sent":
            delay_s = (row.recorded_at - waiting.action.happened_at).total_seconds()
            self._acted(waiting.action.rule).delays_s.append(delay_s)

    async def _store(self, step: StepRow) -> None:
        """Make a step durable. On a disk that is full this waits, and so nothing else goes out meanwhile."""
        while True:
            try:
                await asyncio.to_thread(self._log.append, [step])
            except OSError as error:
                self._say("storing", f"What became of an action can't be stored: {error}. It is tried again.")
                await asyncio.sleep(_STORE_AGAIN_S)
            else:
                self._problems.pop("storing", None)
                return

    def _next_step(self, waiting: Waiting, step: Step, **more: object) -> StepRow:
        waiting.steps += 1
        return step_of(waiting.action, step, waiting.steps, self.clock(), **more)

    def _acted(self, rule: str) -> Acted:
        return self.done.setdefault(rule, Acted())

    def _count(self, rule: str, what: str) -> None:
        self._acted(rule).counts[what] += 1

    def _say(self, about: str, text: str) -> None:
        """Say a problem once, until it is another one or gone."""
        if self._problems.get(about) != text:
            self._problems[about] = text
            self.echo(text)


def _take_in_person(backlog: Backlog, mine: Waiting, row: Row) -> None:
    """Take in what a person did about an action that waits or is on its way."""
    if row.waiting.round > mine.round:
        mine.round, mine.attempts, mine.is_dropped = row.waiting.round, 0, not row.is_unsettled
        mine.steps = max(mine.steps, row.waiting.steps)
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
