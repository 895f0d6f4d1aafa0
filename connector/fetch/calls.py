"""Fetches what is due from the Verbex API and lands every attempt, answered or not.

Belongs here: one pass over due calls, and what each attempt came to. Which calls are due is the warehouse's
to say, and what an answer means is said downstream: this module reads and writes nothing but the API and the
landing zone, so a slow API delays no call and a kill loses no answer that was landed.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connector.fetch.attempts import AnswerLog, Attempt, Outcome, answer_log
from connector.landing.files import AGENTS_ZONE, CALLS_ZONE, PCA_ZONE, Landing
from connector.settings import Settings
from connector.verbex.answer import Answer, NotAuthorizedError, VerbexError
from connector.verbex.client import LONGEST_HOLD_S, Clock, VerbexClient, utc_now
from connector.verbex.pace import backoff_s

FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 3600.0
LEAST_FAILURES = 5
"""An attempt that failed gives up only after so many: that the API was down says nothing about a call."""

Progress = Callable[[int], None]
"""Called with how many calls are done, after each."""


@dataclass(frozen=True, slots=True)
class Due:
    """A call, or an agent, of which something is to be fetched.

    Attributes:
        call_id: The call; empty if something of its agent alone is wanted.
        agent_id: Its agent; None if no event told it.
        due_since: When it became due, UTC; giving up counts from here.
        attempts: How many attempts are on record.
    """

    call_id: str
    agent_id: str | None
    due_since: datetime
    attempts: int = 0


@dataclass
class FetchSummary:
    """What one pass came to: how many attempts had which outcome.

    `stopped_by` says why the rest was left unasked, and so stays due; None if all were asked.
    """

    fetcher_id: str
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped_by: VerbexError | OSError | None = None


async def fetch_due(
    due: Iterable[Due],
    *,
    zone: str,
    settings: Settings,
    landing: Landing,
    rng: random.Random,
    clock: Clock = utc_now,
    progress: Progress | None = None,
) -> FetchSummary:
    """Ask for every due call once and land what came of it, one row an attempt.

    Args:
        due: The calls, taken one by one as there is room.
        zone: `PCA_ZONE` asks for post-call analyses, `CALLS_ZONE` for call details, `AGENTS_ZONE` for the PCA
            items that agents are configured with (`call_id` is empty there).
        settings: Where the API is, its key, its limits, and when to give up.
        landing: Where attempts land, in `zone`.
        rng: For jitter and for the pass's own name.
        clock: The time, UTC.
        progress: Called after each call.

    Raises:
        NotAuthorizedError: The key is missing or not accepted. What was answered before is landed.
        OSError: The landing zone can't take the answers; calls whose answers were lost stay due.
    """
    summary = FetchSummary(f"{clock():%Y%m%dT%H%M%S%f}-{rng.getrandbits(32):08x}")
    async with (
        VerbexClient.from_settings(settings, rng, clock) as client,
        answer_log(landing, zone, summary.fetcher_id) as log,
    ):
        fetch = _Pass(client, zone, timedelta(seconds=settings.pca_give_up_s), log, rng, clock, summary)
        turns = iter(due)
        await asyncio.gather(*(fetch.work(turns, progress) for _ in range(settings.api_concurrency)))
    if isinstance(summary.stopped_by, NotAuthorizedError | OSError):
        raise summary.stopped_by
    return summary


@dataclass
class _Pass:
    """One pass over due calls, shared by its workers."""

    client: VerbexClient
    zone: str
    give_up: timedelta
    log: AnswerLog
    rng: random.Random
    clock: Clock
    summary: FetchSummary

    async def work(self, turns: Iterator[Due], progress: Progress | None) -> None:
        """Take due calls until there are none, or until asking on makes no sense."""
        for due in turns:
            attempt = await self._attempt(due)
            if attempt is not None:
                await self._record(attempt)
            if self.summary.stopped_by is not None:
                return
            if progress is not None:
                progress(self.summary.outcomes.total())

    async def _record(self, attempt: Attempt) -> None:
        try:
            await self.log.add(attempt)
        except OSError as error:
            self.summary.stopped_by = error
        else:
            self.summary.outcomes[attempt.outcome] += 1

    async def _attempt(self, due: Due) -> Attempt | None:
        try:
            answer = await self._ask(due)
        except NotAuthorizedError as error:
            self.summary.stopped_by = error
            return None
        except VerbexError as error:
            if (error.retry_after_s or 0) > LONGEST_HOLD_S:
                self.summary.stopped_by = error
            return self._in_vain(due, "failed", str(error), error.http_status, error.retry_after_s or 0)
        if answer.body is None:
            return self._in_vain(due, "pending", answer.reason, answer.http_status)
        return Attempt(
            self.clock(), due.call_id, due.agent_id, "answered", answer.http_status, body=answer.body
        )

    async def _ask(self, due: Due) -> Answer:
        if self.zone == CALLS_ZONE:
            return await self.client.get_call(due.call_id)
        if due.agent_id is None:
            raise VerbexError(
                f"The PCA of call {due.call_id} can't be asked for: no event has told its agent_id yet."
            )
        if self.zone == AGENTS_ZONE:
            return await self.client.get_pca_configuration(due.agent_id)
        assert self.zone == PCA_ZONE, f"nothing can be fetched for zone {self.zone!r}"  # noqa: S101
        return await self.client.get_pca(due.agent_id, due.call_id)

    def _in_vain(
        self, due: Due, outcome: Outcome, error: str | None, http_status: int | None, wait_s: float = 0
    ) -> Attempt:
        now, attempts = self.clock(), due.attempts + 1
        is_patient = outcome == "failed" and attempts < LEAST_FAILURES
        is_given_up = now - due.due_since > self.give_up and not is_patient
        pause_s = backoff_s(attempts, self.rng, first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)
        return Attempt(
            attempted_at=now,
            call_id=due.call_id,
            agent_id=due.agent_id,
            outcome="unavailable" if is_given_up else outcome,
            http_status=http_status,
            error=error,
            retry_at=None if is_given_up else now + timedelta(seconds=max(pause_s, wait_s)),
        )
