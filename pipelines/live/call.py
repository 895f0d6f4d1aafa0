"""The page of one call as data: its events in order, transcript, analysis, attempts, and where each is from.

HTML does not belong here: see `pipelines.live.pages`.
"""

from pipelines.live.board import Part
from pipelines.live.published import Reader

_ROWS_SHOWN = 2_000


def build_call(reader: Reader, call_id: str) -> dict[str, Part]:
    """Ask the published tables for every part of a call's page, in the reader's thread.

    The part `call` has the row None if there is no such call.

    Raises:
        UnreadableError: The tables can't be read.
    """
    asked = {"call_id": call_id, "row_limit": _ROWS_SHOWN}
    rows = reader.ask("live_call", **asked)
    return {
        "call": {"row": rows[0] if rows else None, "call_id": call_id},
        "call_events": {"rows": reader.ask("live_call_events", **asked)},
        "call_messages": {"rows": reader.ask("live_call_messages", **asked)},
        "call_items": {"rows": reader.ask("live_call_items", **asked)},
        "call_actions": {"rows": reader.ask("live_call_actions", **asked)},
        "call_attempts": {"rows": reader.ask("live_call_attempts", **asked)},
    }
