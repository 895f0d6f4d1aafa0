"""Actions with good defaults, for the tests of their senders."""

import json
from datetime import UTC, datetime
from typing import Any

from pipelines.actions.action import Action, Kind

SECRET = "whsec_" + "c2VjcmV0" * 6
"""The secret that signs in tests."""
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_action(
    body: Any = None,  # noqa: ANN401 - any JSON value
    *,
    kind: Kind = "http",
    action_id: str = "act_1",
    keep: tuple[str, ...] = (),
) -> Action:
    """Return an action of the rule `unhappy_caller`."""
    return Action(
        action_id=action_id,
        rule="unhappy_caller",
        kind=kind,
        identity='{"call_id": "c1"}',
        revision=1,
        call_id="c1",
        happened_at=AT,
        intended_at=AT,
        due_at=AT,
        expires_at=None,
        body=json.dumps({"call_id": "c1"} if body is None else body, ensure_ascii=False).encode(),
        keep=keep,
    )
