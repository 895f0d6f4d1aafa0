"""Calls that Verbex is asked to make: at most one for each action and round.

What is asked for, and what became of it, belongs here. Landing the attempt before it, and all later attempts,
does not: see the dispatcher. A request that may have reached Verbex is never sent again: what became of it is
asked with `GET`, and where that gives no answer, a person decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Literal
from uuid import UUID, uuid5

import msgspec

from connector.verbex.answer import Answer as VerbexAnswer
from connector.verbex.answer import VerbexError, fields_of, id_of_call
from connector.verbex.client import VerbexClient
from pipelines.actions.action import MOST_ANSWER_BYTES, Action, Answer
from pipelines.actions.do_not_call import is_listed
from pipelines.actions.phone_number import EXAMPLE, is_e164

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
"""The pauses between the questions whether a call was made [s]: two minutes, for a call may be known late."""

_CALL_IDS = UUID("6f1dbb6c-6a0e-4d0c-9a40-5c1e3f0d9f6b")
"""The namespace of our ids of calls. Another one would make other ids, and dial again."""
_NUMBERS = ("from_number", "to_number")
_AS_THEY_ARE = ("override_ai_agent_id", "pia_llm_dynamic_data")
_PERHAPS_MADE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY)
_NOT_YET = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
"""What refuses a request that is right in itself: a wrong key, and too many requests."""

Sleep = Callable[[float], Awaitable[None]]


def call_id_of(action: Action, round_number: int) -> str:
    """Return our id of the call, the same on every machine. A person's retry is another round."""
    return str(uuid5(_CALL_IDS, f"{action.action_id}:{round_number}"))


def request_of(action: Action, call_id: str) -> bytes:
    """Return the JSON that Verbex gets. `refusal_of` must have let the action pass.

    The columns that Verbex does not know become fields of `metadata`, unless that has fields of these names.
    Values are as in the action's body, to the last digit. Null is left out where Verbex has a default.
    """
    columns = fields_of(action.body)
    request: dict[str, object] = {name: columns.pop(name) for name in _NUMBERS}
    request |= {"direction": "outbound", "call_id": call_id}
    given = {name: columns.pop(name) for name in ("metadata", *_AS_THEY_ARE) if name in columns}
    metadata = columns | fields_of(given.pop("metadata", msgspec.Raw(b"null")))
    request |= {name: value for name, value in given.items() if bytes(value) != b"null"}
    return msgspec.json.encode({**request, **({"metadata": metadata} if metadata else {})})


def refusal_of(action: Action, do_not_call: frozenset[str]) -> str | None:
    """Return why this call must not be asked for, or None if it may be.

    Args:
        action: The call.
        do_not_call: The numbers of `read_do_not_call`, read for this batch.
    """
    columns = fields_of(action.body)
    for name in _NUMBERS:
        number = _text_of(columns.get(name))
        if not is_e164(number):
            return (
                f"`{name}` is {_shown(columns.get(name))}, which is no telephone number that can be dialled. "
                f"Let the rule write it like {EXAMPLE}."
            )
        if name == "to_number" and is_listed(str(number), do_not_call):
            return f"{number} is on the do-not-call list, so it is not dialled."
    metadata = bytes(columns.get("metadata", b"null"))
    if metadata != b"null" and not metadata.startswith(b"{"):
        return f"`metadata` is {_shown(columns['metadata'])} and not a JSON object. Let the rule make it one."
    return None


class DialSender:
    """The asking for calls, over an open client."""

    def __init__(self, client: VerbexClient) -> None:
        self._client = client
        self._perhaps_made: set[str] = set()

    async def is_made(self, call_id: str) -> Answer | None:
        """Return the call as an answer `sent` if Verbex has it, or None if Verbex says that it has not.

        Raises:
            VerbexError: Verbex gives neither answer.
        """
        found = await self._client.get_call(call_id, tries=1)
        if found.body is not None:
            return _sent(found, call_id)
        if found.http_status == HTTPStatus.NOT_FOUND:
            return None
        raise VerbexError(
            f"GET /v1/calls/{call_id} got {found.http_status} without a call, which says neither that it was "
            "made nor that it was not. Look for it at Verbex.",
            http_status=found.http_status,
        )

    async def dial(self, action: Action, call_id: str) -> Answer:
        """Ask for the call unless Verbex has it already, with one request. The attempt must be landed.

        Returns:
            `sent` with the call; `failed` if Verbex refused it; `tried` if it was certainly not made and may
            be asked for again; `unknown` if it may have been made: then ask `settle`, and never this again.
        """
        try:
            made = await self.is_made(call_id)
        except VerbexError as error:
            return _trouble("tried", error, call_id)
        return made or await self._ask_for(request_of(action, call_id), call_id)

    async def settle(
        self, call_id: str, *, sleep: Sleep = asyncio.sleep, pauses_s: Sequence[float] = PAUSES_S
    ) -> Answer:
        """Find out what became of a call that may have been made, without ever asking for it.

        Returns:
            `sent` with the call; `failed` if Verbex still does not have it after the last pause; `unknown` if
            it gave no answer then: a person must look.
        """
        last: VerbexError | None = None
        for pause_s in (*pauses_s, None):
            try:
                made = await self.is_made(call_id)
            except VerbexError as error:
                last = error
            else:
                last = None
                if made is not None:
                    return made
            if pause_s is not None:
                await sleep(pause_s)
        return _trouble("unknown", last, call_id) if last else _not_made(call_id)

    async def _ask_for(self, request: bytes, call_id: str) -> Answer:
        if call_id in self._perhaps_made:
            return Answer(
                "unknown", error=f"The call {call_id} was asked for already. It is not asked for again."
            )
        self._perhaps_made.add(call_id)
        try:
            answer = await self._client.dial(request)
        except VerbexError as error:
            result = _result_of(error)
            if result != "unknown":
                self._perhaps_made.discard(call_id)
            return _trouble(result, error, call_id)
        return _sent(answer, call_id)


def _result_of(error: VerbexError) -> Literal["failed", "tried", "unknown"]:
    """Return what an error of the one request means: only what is certain counts as not made."""
    status = error.http_status or 0
    if not error.was_sent or status in _NOT_YET:
        return "tried"
    is_refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return "failed" if is_refused and status not in _PERHAPS_MADE else "unknown"


def _sent(answer: VerbexAnswer, call_id: str) -> Answer:
    return Answer(
        "sent",
        http_status=answer.http_status,
        body=_within_limit(answer.body or b""),
        links={"call_id": id_of_call(answer) or call_id},
    )


def _trouble(result: Literal["failed", "tried", "unknown"], error: VerbexError, call_id: str) -> Answer:
    why = {
        "failed": f"The call {call_id} was refused",
        "tried": f"The call {call_id} was not asked for, or not made",
        "unknown": f"It is not known whether the call {call_id} was made. Look for it at Verbex, then run "
        "`verbex-sync actions settle`",
    }
    return Answer(
        result,
        http_status=error.http_status,
        error=f"{why[result]}: {' '.join(str(error).split())}",
        retry_after_s=error.retry_after_s,
    )


def _not_made(call_id: str) -> Answer:
    return Answer(
        "failed",
        http_status=HTTPStatus.NOT_FOUND,
        error=f"Verbex has no call {call_id}: it was not made; `verbex-sync actions retry` dials again.",
    )


def _within_limit(body: bytes) -> bytes:
    return body[:MOST_ANSWER_BYTES].decode(errors="ignore").encode()


def _text_of(value: msgspec.Raw | None) -> str | None:
    try:
        return msgspec.json.decode(value or b"null", type=str | None)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of another type, or cut within a character
        return None


def _shown(value: msgspec.Raw | None) -> str:
    return "missing" if value is None else bytes(value).decode(errors="replace")[:40]
