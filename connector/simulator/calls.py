"""The calls of a simulated account: the agent, the times, and the course of each call.

The facts of a call belong here. See `connector.simulator.events` for its webhooks, and
`connector.simulator.details` and `connector.simulator.pca` for its REST answers.
"""

import random
from dataclasses import dataclass
from enum import StrEnum

from connector.simulator.agents import Agent
from connector.simulator.chance import object_id

SECOND_US = 1_000_000
MAX_DURATION_S = 900


class Course(StrEnum):
    """The course of a call, as its webhooks and its PCA show it."""

    NORMAL = "normal"
    TRANSFERRED = "transferred"
    IN_PROGRESS = "in_progress"
    PCA_FAILED = "pca_failed"
    UNANNOUNCED = "unannounced"
    """Its PCA exists, but the webhook that announces it was never sent."""
    WITHOUT_PCA = "without_pca"
    """No PCA was ever made, and nothing was announced."""
    START_MISSING = "start_missing"


_WEIGHTS = {
    Course.NORMAL: 78,
    Course.TRANSFERRED: 7,
    Course.IN_PROGRESS: 4,
    Course.PCA_FAILED: 3,
    Course.UNANNOUNCED: 4,
    Course.WITHOUT_PCA: 1,
    Course.START_MISSING: 3,
}
_HAS_RESULTS = {Course.NORMAL, Course.TRANSFERRED, Course.UNANNOUNCED, Course.START_MISSING}
_IS_ANNOUNCED = {Course.NORMAL, Course.TRANSFERRED, Course.PCA_FAILED, Course.START_MISSING}


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Times are UNIX microseconds. A call in progress has no end."""

    call_id: str
    organization_id: str
    agent: Agent
    course: Course
    started_us: int
    ended_us: int | None
    pca_us: int | None
    revised_us: int | None
    transfer_to: str | None

    @property
    def has_results(self) -> bool:
        """Whether the PCA endpoint has items for it after `pca_us`."""
        return self.course in _HAS_RESULTS

    @property
    def is_announced(self) -> bool:
        """Whether a `pcaCompleted` webhook is sent, even one that reports a failure."""
        return self.course in _IS_ANNOUNCED

    @property
    def transferred_us(self) -> int | None:
        """The time when it was transferred to a person, in the middle of the call; None if it was not."""
        if self.transfer_to is None or self.ended_us is None:
            return None
        return (self.started_us + self.ended_us) // 2


def build_calls(
    rng: random.Random,
    *,
    count: int,
    organization_id: str,
    agents: tuple[Agent, ...],
    start_us: int,
    span_s: float,
    revisions: float,
) -> tuple[Call, ...]:
    """Return `count` calls sorted by start, with each course at least once if there are enough calls."""
    calls = [
        _build_call(rng, course, organization_id, rng.choice(agents), start_us, span_s, revisions)
        for course in _draw_courses(rng, count)
    ]
    return tuple(sorted(calls, key=lambda call: (call.started_us, call.call_id)))


def _draw_courses(rng: random.Random, count: int) -> list[Course]:
    courses = list(Course)[:count]
    courses += rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count - len(courses))
    rng.shuffle(courses)
    return courses


def _build_call(
    rng: random.Random,
    course: Course,
    organization_id: str,
    agent: Agent,
    start_us: int,
    span_s: float,
    revisions: float,
) -> Call:
    # A call that is still in progress began recently, or it would look stuck.
    earliest_s = max(0.0, span_s - 300) if course is Course.IN_PROGRESS else 0.0
    started_us = start_us + int(rng.uniform(earliest_s, span_s) * SECOND_US)
    duration_s = min(MAX_DURATION_S, 5 + rng.lognormvariate(4.2, 0.9))
    ended_us = None if course is Course.IN_PROGRESS else started_us + int(duration_s * SECOND_US)
    pca_us = None if ended_us is None else ended_us + int(rng.uniform(1, 30) * SECOND_US)
    is_revised = rng.random() < revisions and course in _HAS_RESULTS & _IS_ANNOUNCED
    revised_us = pca_us + int(rng.uniform(60, 600) * SECOND_US) if is_revised and pca_us else None
    return Call(
        call_id=object_id(started_us, rng),
        organization_id=organization_id,
        agent=agent,
        course=course,
        started_us=started_us,
        ended_us=ended_us,
        pca_us=pca_us,
        revised_us=revised_us,
        transfer_to=f"+8150{rng.randrange(10**8):08d}" if course is Course.TRANSFERRED else None,
    )
