"""The steps of actions and of rules as rows, and their way into landing.

The row, and landing rows at once, belong here. Keeping steps safe until they land does not: see
`pipelines.actions.step_log`.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from connector.landing.files import Landing
from connector.landing.zones import ACTION_SCHEMA, ACTIONS, Step
from pipelines.actions.action import Action


class StepRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step, as `ACTION_SCHEMA` describes it, without the writer and its number."""

    recorded_at: datetime
    step: Step
    rule: str
    action_id: str | None = None
    step_number: int | None = None
    kind: str | None = None
    identity: str | None = None
    revision: int | None = None
    cause: str | None = None
    lane: str | None = None
    call_id: str | None = None
    happened_at: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    http_status: int | None = None
    error: str | None = None
    body: bytes | None = None
    links: Mapping[str, str] | None = None


def intended(action: Action) -> StepRow:
    """Return the step by which an action begins: it holds all about it."""
    return StepRow(
        recorded_at=action.intended_at,
        step="intended",
        rule=action.rule,
        action_id=action.action_id,
        step_number=1,
        kind=action.kind,
        identity=action.identity,
        revision=action.revision,
        cause=action.cause,
        lane=action.lane,
        call_id=action.call_id,
        happened_at=action.happened_at,
        due_at=action.due_at,
        expires_at=action.expires_at,
        body=action.body,
    )


def step_of(action: Action, step: Step, number: int, at: datetime, **more: Any) -> StepRow:  # noqa: ANN401
    """Return a later step of an action, recorded at `at`, UTC. `more` are other fields of the row."""
    return StepRow(
        recorded_at=at,
        step=step,
        rule=action.rule,
        action_id=action.action_id,
        step_number=number,
        identity=action.identity,
        call_id=action.call_id,
        **more,
    )


def new_actor_id(now: datetime, rng: random.Random) -> str:
    """Return an id for one process that takes steps. Ids sort by time.

    Args:
        now: The time of its start, UTC.
        rng: Makes the ids of two processes different if they start at the same moment.
    """
    return f"{now:%Y%m%dT%H%M%S%f}-{rng.getrandbits(32):08x}"


def land_steps(
    landing: Landing, actor_id: str, steps: Iterable[tuple[int, StepRow]], *, number: int = 1
) -> None:
    """Land steps, each with its number within the process. They are durable when this returns.

    Landing the same steps under the same number again changes nothing.

    Raises:
        OSError: Landing can't store them.
    """
    rows: list[tuple[Any, ...]] = [(actor_id, sequence, *_values(step)) for sequence, step in steps]
    if not rows:
        return
    columns: Sequence[tuple[Any, ...]] = list(zip(*rows, strict=True))
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, ACTION_SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=ACTION_SCHEMA)
    landing.write(table, zone=ACTIONS, name=f"{actor_id}-{number:06d}")


def _values(step: StepRow) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(step)
    return (*values[:-1], list(step.links.items()) if step.links else None)
