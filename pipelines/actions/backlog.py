"""What one rule still has to do, in memory: what is next, what waits, and what is on its way.

Order belongs here. When people may be disturbed, and what an attempt comes to, does not: see
`pipelines.actions.dispatcher`.
"""

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from pipelines.actions.action import Action


@dataclass
class Waiting:
    """One action that is not settled.

    Attributes:
        action: The action.
        due_at: The earliest time of its next attempt, UTC.
        steps: The number of its steps so far.
        attempts: The number of attempts in this round.
        round: 1, and one more each time that a person lets it be tried again.
        reason: Why it is held; empty if it is not.
        is_begun: True if an attempt may have left, and its outcome is not known.
        is_running: True while an attempt is on its way.
        is_dropped: True once a person has cancelled or settled it.
    """

    action: Action
    due_at: datetime
    steps: int = 1
    attempts: int = 0
    round: int = 1
    reason: str = ""
    is_begun: bool = False
    is_running: bool = False
    is_dropped: bool = False


@dataclass
class Backlog:
    """The unsettled actions of one rule, earliest due first. Of one lane, only the first goes out."""

    _by_id: dict[str, Waiting] = field(default_factory=dict)
    _ready: list[tuple[datetime, datetime, int, Waiting]] = field(default_factory=list)
    _lanes: dict[str, list[tuple[datetime, int, str, Waiting]]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def __len__(self) -> int:
        """Return how many actions are unsettled."""
        return len(self._by_id)

    def find(self, action_id: str) -> Waiting | None:
        """Return an action that is not settled."""
        return self._by_id.get(action_id)

    def add(self, waiting: Waiting) -> None:
        """Add an action."""
        self._by_id[waiting.action.action_id] = waiting
        lane = waiting.action.lane
        if lane is None:
            self._push(waiting)
            return
        queue = self._lanes.setdefault(lane, [])
        action = waiting.action
        heapq.heappush(queue, (action.happened_at, action.revision, action.action_id, waiting))
        if queue[0][-1] is waiting:  # if another was ready, it is passed over until its turn comes again
            self._push(waiting)

    def take(self, now: datetime) -> Waiting | None:
        """Take the next action that is due at `now`, UTC. Put it back, or settle it."""
        while self._ready and self._ready[0][0] <= now:
            due_at, _, _, waiting = heapq.heappop(self._ready)
            if self._is_current(waiting, due_at):
                waiting.is_running = True
                return waiting
        return None

    def put_back(self, waiting: Waiting, due_at: datetime) -> None:
        """Let an action that was taken wait until `due_at`, UTC."""
        waiting.is_running, waiting.due_at = False, due_at
        self._push(waiting)

    def hasten(self, waiting: Waiting, due_at: datetime) -> None:
        """Make an action that waits due at `due_at`, UTC."""
        waiting.due_at = due_at
        if not waiting.is_running:
            self._push(waiting)

    def settle(self, waiting: Waiting) -> None:
        """Remove an action. The next one of its lane may go."""
        self._by_id.pop(waiting.action.action_id, None)
        waiting.is_running = False
        lane = waiting.action.lane
        if lane is None or lane not in self._lanes:
            return
        queue = [entry for entry in self._lanes.pop(lane) if entry[-1] is not waiting]
        if queue:
            heapq.heapify(queue)
            self._lanes[lane] = queue
            if not queue[0][-1].is_running:
                self._push(queue[0][-1])

    def next_due_at(self) -> datetime | None:
        """Return when the next action is due, UTC; None if none waits."""
        while self._ready and not self._is_current(self._ready[0][3], self._ready[0][0]):
            heapq.heappop(self._ready)
        return self._ready[0][0] if self._ready else None

    def list_all(self) -> list[Waiting]:
        """Return all unsettled actions."""
        return list(self._by_id.values())

    def _push(self, waiting: Waiting) -> None:
        entry = (waiting.due_at, waiting.action.happened_at, next(self._numbers), waiting)
        heapq.heappush(self._ready, entry)

    def _is_current(self, waiting: Waiting, due_at: datetime) -> bool:
        """Return whether an entry is the newest of an action that waits, and that is first in its lane."""
        return (
            self._by_id.get(waiting.action.action_id) is waiting
            and not waiting.is_running
            and waiting.due_at == due_at
            and self._is_first(waiting)
        )

    def _is_first(self, waiting: Waiting) -> bool:
        lane = waiting.action.lane
        return lane is None or self._lanes[lane][0][-1] is waiting
