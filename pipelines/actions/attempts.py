"""What surrounds each attempt: whether it may be made, and what is stored before and after it.

Only one action at a time is looked at here. Which one is next does not belong here: see
`pipelines.actions.dispatcher`. How an attempt is made does not either: see `pipelines.actions.senders`.
"""

import asyncio
import random
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from connector.errors import OperatorError
from connector.landing.zones import Step
from pipelines.actions.action import Action, Answer
from pipelines.actions.backlog import Backlog, Waiting
from pipelines.actions.holding import PAUSE_AFTER_FAULT, kind_problem_of, reason_to_hold
from pipelines.actions.patience import MOST_ATTEMPTS, pause_after
from pipelines.actions.pause import is_paused
from pipelines.actions.senders import Senders
from pipelines.actions.step_log import StepLog
from pipelines.actions.steps import StepRow, step_of
from pipelines.models.rule import Rule

_STORE_AGAIN_S = 1.0
_LONGEST_STORING = timedelta(seconds=30)
"""How long what allows a call counts, while it is stored that it will be made."""

Clock = Callable[[], datetime]


@dataclass
class Acted:
    """What was done for one rule, to be told to people."""

    counts: Counter[str] = field(default_factory=Counter)
    """Attempts by what they came to, and `intended`."""
    delays_s: list[float] = field(default_factory=list)
    """From the fact to the delivery, of what was sent [s]."""


@dataclass
class Attempts:
    """The attempts of one process, and what it knows of the actions that they are at.

    Attributes:
        data_dir: The data folder.
        senders: Make the attempts.
        log: Keeps what they came to.
        clock: The time, UTC.
        rng: Spreads the pauses between attempts.
        say: Says a problem, by what it is about; empty once it is gone.
        done: What was done, by rule, until somebody takes it.
        backlogs: What each rule still has to do.
        attempted: When each rule made its attempts, as far as a limit may count them.
        settled: The actions that were settled, with the last round that counts, until the tables know it.
    """

    data_dir: Path
    senders: Senders
    log: StepLog
    clock: Clock
    rng: random.Random
    say: Callable[[str, str], None]
    done: dict[str, Acted] = field(default_factory=dict)
    backlogs: dict[str, Backlog] = field(default_factory=dict)
    attempted: dict[str, deque[datetime]] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)

    def backlog(self, rule: str) -> Backlog:
        """Return what a rule still has to do."""
        return self.backlogs.setdefault(rule, Backlog())

    async def handle(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        """Make an attempt at an action that was taken from its backlog, or let it wait, or end it."""
        action = waiting.action
        if waiting.is_begun:
            answer = await self.senders.find_out(action, waiting.round)
            await self._store_answer(rule, waiting, answer)
        elif action.expires_at is not None and now > action.expires_at:
            await self._finish(waiting, "expired", error="it was too late: see its `not after:`")
        elif held := self._reason_to_hold(rule, action, now):
            await self._hold(waiting, *held)
        else:
            await self._attempt(rule, waiting, now)

    def _reason_to_hold(self, rule: Rule, action: Action, now: datetime) -> tuple[str, datetime] | None:
        times = self.attempted.setdefault(rule.name, deque())
        problem = kind_problem_of(rule, action) or self.senders.problem_of(rule)
        return reason_to_hold(rule, times, now, problem)

    async def _hold(self, waiting: Waiting, reason: str, until: datetime) -> None:
        # said once for each reason, or a limit would fill the tables with rows
        if waiting.reason != reason:
            waiting.reason = reason
            await self._store(self.next_step(waiting, "held", error=reason, due_at=until))
            self.count(waiting.action.rule, "held")
        self.put_back(waiting, until)

    def put_back(self, waiting: Waiting, due_at: datetime) -> None:
        """Let an action wait, unless a person has ended it meanwhile."""
        backlog = self.backlog(waiting.action.rule)
        if waiting.is_dropped:
            backlog.settle(waiting)
        else:
            backlog.put_back(waiting, due_at)

    async def _attempt(self, rule: Rule, waiting: Waiting, now: datetime) -> None:
        # what the tables give has no `keep:`, and a person may begin another round meanwhile
        action, round_number = replace(waiting.action, keep=rule.keep), waiting.round
        times = self.attempted.setdefault(rule.name, deque())
        if rule.at_most is not None:
            times.append(now)  # before anything is awaited, or all that are due would find the same room
        if action.kind == "dial" and not await self._begin_call(rule, waiting, now):
            if now in times:
                times.remove(now)
            return
        answer = await self.senders.send(action, round_number)
        if answer.result == "unknown" and action.kind == "dial":
            answer = await self.senders.find_out(action, round_number)
        await self._store_answer(rule, waiting, answer)

    async def _begin_call(self, rule: Rule, waiting: Waiting, now: datetime) -> bool:
        """Return whether a call may be asked for. Then it is landed that it will be."""
        round_number = waiting.round
        try:
            refused = await asyncio.to_thread(self.senders.refusal_of, rule, waiting.action)
        except OperatorError as error:
            await self._hold(waiting, str(error), now + PAUSE_AFTER_FAULT)
            return False
        if refused is not None:
            await self._store_answer(rule, waiting, refused)
            return False
        if waiting.is_dropped or is_paused(self.data_dir):
            self.put_back(waiting, now)
            return False
        # durable and landed before the request, so that no crash can make it forgotten
        await self._store(self.next_step(waiting, "started", cause=str(round_number)))
        await asyncio.to_thread(self.log.land)
        waiting.is_begun = True
        # a disk that was full for hours must not make the call at night
        if waiting.is_dropped or is_paused(self.data_dir) or abs(self.clock() - now) > _LONGEST_STORING:
            why = "It was not asked for: it was stopped, or storing the attempt took too long."
            await self._store_answer(rule, waiting, Answer("tried", error=why))
            return False
        return True

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
            await self._store(self.next_step(waiting, "tried", due_at=due_at, **said))
            self.count(rule.name, "tried")
            self.put_back(waiting, due_at)

    async def _finish(self, waiting: Waiting, step: Step, **said: object) -> None:
        row = self.next_step(waiting, step, **said)
        await self._store(row)
        # a person's retry that was decided before they could know is none of what was sent, or may have been
        can_be_retried = step in ("failed", "expired", "cancelled")
        self.settled[waiting.action.action_id] = waiting.round if can_be_retried else sys.maxsize
        self.backlog(waiting.action.rule).settle(waiting)
        self.count(waiting.action.rule, step)
        if step == "sent":
            delay_s = (row.recorded_at - waiting.action.happened_at).total_seconds()
            self._acted(waiting.action.rule).delays_s.append(delay_s)

    async def _store(self, step: StepRow) -> None:
        """Make a step durable. On a disk that is full this waits, and so nothing else goes out meanwhile."""
        while True:
            try:
                await asyncio.to_thread(self.log.append, [step])
            except OSError as error:
                self.say("storing", f"What became of an action can't be stored: {error}. It is tried again.")
                await asyncio.sleep(_STORE_AGAIN_S)
            else:
                self.say("storing", "")
                return

    def next_step(self, waiting: Waiting, step: Step, **more: object) -> StepRow:
        """Return the next step of an action, taken now."""
        waiting.steps += 1
        return step_of(waiting.action, step, waiting.steps, self.clock(), **more)

    def _acted(self, rule: str) -> Acted:
        return self.done.setdefault(rule, Acted())

    def count(self, rule: str, what: str) -> None:
        """Count what was done for a rule."""
        self._acted(rule).counts[what] += 1
