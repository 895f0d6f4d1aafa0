"""One pass over due calls: it fetches from the Verbex API and lands every attempt, answered or not.

The pass and the result of each attempt belong here. The warehouse decides which calls are due, and SQL
decides what an answer means. This module uses only the API and landing, so a slow API does not delay the
loading of events, and a kill loses no landed answer.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from operator import length_hint

from connector.fetch.attempts import AnswerLog, Attempt, answer_log, new_fetcher_id
from connector.landing.files import Landing
from connector.landing.zones import AGENTS, CALLS, PCA, Outcome, Zone
from connector.settings import Settings
from connector.system.progress import Progress, no_progress
from connector.verbex.answer import Answer, ApiUnavailableError, NotAuthorizedError, VerbexError
from connector.verbex.client import VerbexClient
from connector.verbex.pace import LEAST_JITTER, backoff_s
from connector.verbex.transport import LONGEST_HOLD_S, Clock, utc_now

FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 3600.0
LEAST_FAILURES = 5
"""Failed attempts make a call unavailable only after this many: a broken API says nothing about a call."""


@dataclass(frozen=True, slots=True)
class Due:
    """A call, or an agent, to fetch something of.

    Attributes:
        call_id: The call; empty if only something of its agent is wanted.
        agent_id: Its agent; None if no event named it.
        due_since: The time when it became due, UTC. The time until it is unavailable counts from here.
        attempts: The number of recorded attempts since it became due.
        attempts_ever: The number of recorded attempts, those of earlier times included.
        announcements: The number of announcements of its analysis that are known.
    """

    call_id: str
    agent_id: str | None
    due_since: datetime
    attempts: int = 0
    attempts_ever: int = 0
    announcements: int = 0


@dataclass
class Fetched:
    """The result of a pass: the number of attempts by outcome.

    Attributes:
        fetcher_id: The id of the pass in landing; empty for several passes together.
        outcomes: Attempts by outcome [count].
        stopped_by: The error that ended the pass, so that the rest stays due; None if all were asked for.
        forbidden: Attempts that got 403; they are among the failed ones [count].
        forbidden_by: The last of these errors.
    """

    fetcher_id: str = ""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped_by: VerbexError | OSError | None = None
    forbidden: int = 0
    forbidden_by: NotAuthorizedError | None = None

    def __add__(self, later: "Fetched") -> "Fetched":
        """Return two passes as one that stopped as the later one did."""
        return Fetched(
            outcomes=self.outcomes + later.outcomes,
            stopped_by=later.stopped_by,
            forbidden=self.forbidden + later.forbidden,
            forbidden_by=later.forbidden_by or self.forbidden_by,
        )

    @property
    def is_all_forbidden(self) -> bool:
        """Whether every attempt got 403, so that the key is to blame and not the calls."""
        return 0 < self.forbidden == self.outcomes.total()


async def _ask_for_pca(client: VerbexClient, due: Due) -> Answer:
    if due.agent_id is None:
        raise VerbexError(
            f"The PCA of call {due.call_id} can't be fetched, because no event names its agent_id yet."
            " Try again once one does."
        )
    return await client.get_pca(due.agent_id, due.call_id)


async def _ask_for_call(client: VerbexClient, due: Due) -> Answer:
    return await client.get_call(due.call_id)


async def _ask_for_configuration(client: VerbexClient, due: Due) -> Answer:
    return await client.get_pca_configuration(due.agent_id or "")


_QUESTIONS: dict[Zone, Callable[[VerbexClient, Due], Awaitable[Answer]]] = {
    PCA: _ask_for_pca,
    CALLS: _ask_for_call,
    AGENTS: _ask_for_configuration,
}

FETCHED_ZONES = tuple(_QUESTIONS)
"""The zones that are filled by one request for each call or agent."""


async def fetch_due(
    due: Iterable[Due],
    *,
    zone: Zone,
    settings: Settings,
    landing: Landing,
    rng: random.Random,
    clock: Clock = utc_now,
    progress: Progress = no_progress,
) -> Fetched:
    """Ask for every due call once and land the results, one row per attempt.

    Args:
        due: The calls or agents to ask for, taken one by one when a request can be sent.
        zone: One of `FETCHED_ZONES`: `PCA` asks for post-call analyses, `CALLS` for call details, `AGENTS`
            for the PCA items that agents are configured with (`call_id` is empty there).
        settings: The API's address, its key, its limits, and the time after which an answer is unavailable.
        landing: The landing to write attempts to, in `zone`.
        rng: For jitter and for the id of the pass.
        clock: The current time, UTC.
        progress: Called after each call with the number done and the total, which is 0 if `due` does not
            know it.

    Raises:
        NotAuthorizedError: The key is missing or not accepted (401). Answers received before are landed.
            A 403 is a failure of its call, and the result counts them.
        OSError: Landing can't store the answers. Calls whose answers were lost stay due.
    """
    fetched = Fetched(new_fetcher_id(clock(), rng))
    async with (
        VerbexClient.from_settings(settings, rng, clock) as client,
        answer_log(landing, zone, fetched.fetcher_id) as log,
    ):
        fetch = _Pass(client, zone, timedelta(seconds=settings.pca_give_up_s), log, rng, clock, fetched)
        turns = iter(due)
        workers, total = range(settings.api_concurrency), length_hint(due)
        await asyncio.gather(*(fetch.work(turns, lambda done: progress(done, total)) for _ in workers))
    if isinstance(fetched.stopped_by, NotAuthorizedError | OSError):
        raise fetched.stopped_by
    return fetched


def most_tries(give_up: timedelta) -> int:
    """Return the number of attempts whose pauses, even the shortest ones, take longer than `give_up`.

    So a call ends as unavailable also if it became due in a future that a wrong clock has noted.
    """
    doublings = math.ceil(math.log2(LONGEST_RETRY_S / FIRST_RETRY_S))
    return doublings + 1 + math.ceil(give_up.total_seconds() / (LONGEST_RETRY_S * LEAST_JITTER))


@dataclass
class _Pass:
    """One pass over due calls, shared by its workers."""

    client: VerbexClient
    zone: Zone
    give_up: timedelta
    log: AnswerLog
    rng: random.Random
    clock: Clock
    fetched: Fetched

    async def work(self, turns: Iterator[Due], on_done: Callable[[int], None]) -> None:
        """Take due calls until there are none, or until an error ends the pass."""
        for due in turns:
            attempt = await self._attempt(due)
            if attempt is not None:
                await self._record(attempt)
            if self.fetched.stopped_by is not None:
                return
            on_done(self.fetched.outcomes.total())

    async def _record(self, attempt: Attempt) -> None:
        try:
            await self.log.add(attempt)
        except OSError as error:
            self.fetched.stopped_by = error
        else:
            self.fetched.outcomes[attempt.outcome] += 1

    async def _attempt(self, due: Due) -> Attempt | None:
        try:
            answer = await _QUESTIONS[self.zone](self.client, due)
        except NotAuthorizedError as error:
            if error.http_status != HTTPStatus.FORBIDDEN:
                self.fetched.stopped_by = error
                return None
            return self._forbidden(due, error)
        except VerbexError as error:
            if isinstance(error, ApiUnavailableError) and (error.retry_after_s or 0) > LONGEST_HOLD_S:
                self.fetched.stopped_by = error
            return self._unanswered(due, "failed", str(error), error.http_status, error.retry_after_s or 0)
        if answer.body is None:
            wait_s = answer.retry_after_s or 0
            return self._unanswered(due, "pending", answer.reason, answer.http_status, wait_s)
        return self._attempted(
            due, self.clock(), "answered", http_status=answer.http_status, body=answer.body
        )

    def _forbidden(self, due: Due, error: NotAuthorizedError) -> Attempt:
        """Note a 403: a failure of this call, as of one in another workspace, unless nothing is answered."""
        self.fetched.forbidden += 1
        self.fetched.forbidden_by = error
        is_key = self.fetched.forbidden > self.fetched.outcomes.total()
        wait_s = error.retry_after_s or 0
        return self._unanswered(due, "failed", str(error), error.http_status, wait_s, may_be_final=not is_key)

    def _unanswered(
        self,
        due: Due,
        outcome: Outcome,
        error: str | None,
        http_status: int | None,
        wait_s: float = 0,
        *,
        may_be_final: bool = True,
    ) -> Attempt:
        now, attempts = self.clock(), due.attempts + 1
        is_over = now - due.due_since > self.give_up or attempts >= most_tries(self.give_up)
        has_few_failures = outcome == "failed" and (attempts < LEAST_FAILURES or not may_be_final)
        is_unavailable = is_over and not has_few_failures
        pause_s = backoff_s(attempts, self.rng, first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)
        return self._attempted(
            due,
            now,
            "unavailable" if is_unavailable else outcome,
            http_status=http_status,
            error=error,
            retry_at=None if is_unavailable else now + timedelta(seconds=max(pause_s, wait_s)),
        )

    def _attempted(
        self,
        due: Due,
        now: datetime,
        outcome: Outcome,
        *,
        http_status: int | None,
        error: str | None = None,
        retry_at: datetime | None = None,
        body: bytes | None = None,
    ) -> Attempt:
        """Return the attempt with what it answers: by number, because other machines have other clocks."""
        return Attempt(
            attempted_at=now,
            call_id=due.call_id,
            agent_id=due.agent_id,
            outcome=outcome,
            http_status=http_status,
            error=error,
            retry_at=retry_at,
            body=body,
            attempt_number=due.attempts_ever + 1,
            announcements=due.announcements,
        )
