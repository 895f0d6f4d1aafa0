"""Calls that rules ask for: what is sent, what is refused, and that no fault makes two of one."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from connector.simulator.api import DEFAULT_API_KEY, ApiServer
from connector.simulator.details import ACCESS_TOKEN_MARK
from connector.simulator.faults import Faults
from connector.verbex import transport
from connector.verbex.client import VerbexClient
from pipelines.actions.action import Action, Answer
from pipelines.actions.dial import PAUSES_S, DialSender, call_id_of, refusal_of, request_of

FROM, TO = "+81312345678", "+819012345678"
NOON = datetime(2025, 11, 9, 12, tzinfo=UTC)
KINDS = (
    *("too_many", "server_error", "reset", "cut", "truncated", "html", "error_in_200"),
    *("unheard", "late"),
)


def action_of(**columns: Any) -> Action:  # noqa: ANN401 - any JSON
    """Return an action of a rule with these columns."""
    columns = {"from_number": FROM, "to_number": TO, **columns}
    return Action(
        action_id="callback_1",
        rule="callback",
        kind="dial",
        identity='{"call_id":"a"}',
        revision=1,
        call_id="a",
        happened_at=NOON,
        intended_at=NOON,
        due_at=NOON,
        expires_at=None,
        body=json.dumps({name: value for name, value in columns.items() if value is not ...}).encode(),
    )


ACTION = action_of(call_id="a", case=7)
CALL_ID = call_id_of(ACTION, 1)


@asynccontextmanager
async def sender_of(url: str, key: str = DEFAULT_API_KEY) -> AsyncIterator[DialSender]:
    async with VerbexClient(url, key, rate_per_s=10_000, concurrency=2, rng=random.Random(1)) as client:
        yield DialSender(client)


async def at_once(_: float) -> None:
    """Wait for nothing."""


def test_all_columns_reach_verbex() -> None:
    """Those that it knows under their names, all others as metadata, with their types and every digit."""
    action = action_of(
        call_id="a",
        amount=3,
        text="é",
        nothing=None,
        metadata={"case": 7, "text": "own"},
        direction="inbound",
    )
    action = replace(action, body=action.body.replace(b"3,", b"1.000000000000000000001,"))
    request = request_of(action, CALL_ID)
    assert b"1.000000000000000000001" in request
    assert json.loads(request) == {
        "from_number": FROM,
        "to_number": TO,
        "direction": "outbound",
        "call_id": CALL_ID,
        "metadata": {
            "call_id": "a",
            "amount": 1.0,
            "text": "own",
            "nothing": None,
            "direction": "inbound",
            "case": 7,
        },
    }


def test_what_is_null_is_left_to_verbex() -> None:
    """A rule that overrides the agent of some calls only."""
    columns = {"override_ai_agent_id": None, "pia_llm_dynamic_data": {"name": "佐藤"}, "metadata": None}
    assert json.loads(request_of(action_of(**columns), CALL_ID)) == {
        "from_number": FROM,
        "to_number": TO,
        "direction": "outbound",
        "call_id": CALL_ID,
        "pia_llm_dynamic_data": {"name": "佐藤"},
    }


def test_the_id_of_a_call_is_of_its_action_and_round() -> None:
    """So a restored backup, and another machine, ask for the same call. The first value is for all time."""
    assert CALL_ID == "f49963f2-0145-5bc3-8b07-219e23f4a79b"
    ids = {
        call_id_of(replace(ACTION, action_id=name), number) for name in ("a", "a_1") for number in (1, 2, 11)
    }
    assert len(ids) == 6
    assert all(str(UUID(each)) == each for each in ids)


@pytest.mark.parametrize("name", ["from_number", "to_number"])
@pytest.mark.parametrize(
    "number",
    [
        ...,
        None,
        "",
        "090-1234-5678",
        "+0123456789",
        "+8190 1234 5678",
        819012345678,
        f"{TO}\n",
        "+\uff18\uff11\uff19\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
        ["+819012345678"],
    ],
)
def test_what_is_no_number_is_not_dialled(name: str, number: object) -> None:
    """The reason names the column. Nothing is guessed, for a wrong guess calls a stranger."""
    reason = refusal_of(action_of(**{name: number}), frozenset())
    assert reason is not None
    assert f"`{name}`" in reason


def test_what_is_on_the_list_is_not_dialled() -> None:
    """Only who is called counts: our own number is on no list."""
    assert refusal_of(ACTION, frozenset()) is None
    assert refusal_of(ACTION, frozenset({FROM})) is None
    reason = refusal_of(ACTION, frozenset({TO}))
    assert reason is not None
    assert "do-not-call" in reason


@pytest.mark.parametrize("metadata", ["text", '{"case": 7}', 5, [], True])
def test_metadata_that_is_no_object_is_refused(metadata: object) -> None:
    """It could not hold the other columns."""
    reason = refusal_of(action_of(metadata=metadata), frozenset())
    assert reason is not None
    assert "`metadata`" in reason


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """Whatever it is, there is a reason and no error."""
    assert refusal_of(replace(ACTION, body=body), frozenset())


@pytest.mark.parametrize("number", [b'"\\ud83d"', b'"\xff"', b'"\\ud83d\\ude00"'])
def test_a_number_of_broken_characters_is_refused(number: bytes) -> None:
    """A text that was cut, or that never was one, ends nothing but its own action."""
    body = b'{"from_number": "+81312345678", "to_number": ' + number + b"}"
    reason = refusal_of(replace(ACTION, body=body), frozenset())
    assert reason is not None
    assert reason.encode()


async def test_a_call_is_made_once_and_kept_without_its_credential(api: ApiServer) -> None:
    """The answer ties the action to the call."""
    async with sender_of(api.url) as sender:
        answer = await sender.dial(ACTION, CALL_ID)
    assert (answer.result, answer.http_status, answer.links) == ("sent", 201, {"call_id": CALL_ID})
    assert answer.body is not None
    assert json.loads(answer.body)["metadata"] == {"call_id": "a", "case": 7}
    assert ACCESS_TOKEN_MARK.encode() not in answer.body
    assert [request.method for request in api.requests] == ["GET", "POST"]
    assert api.dials.by_call_id == {CALL_ID: 1}


async def test_a_call_that_verbex_has_is_not_asked_for_again(api: ApiServer) -> None:
    """An older data folder that was put back does not know of it."""
    for _ in range(2):
        async with sender_of(api.url) as sender:
            answer = await sender.dial(ACTION, CALL_ID)
            assert (answer.result, answer.links) == ("sent", {"call_id": CALL_ID})
    assert api.dials.by_call_id == {CALL_ID: 1}


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_asked_for_while_it_is_not_known_what_verbex_has(api: ApiServer, kind: str) -> None:
    """A fault of the question before it makes no call, and is tried again later."""
    api.faults, api.dial_faults = Faults(**{kind: 1.0}, retry_after_s=0), Faults()  # type: ignore[arg-type]
    async with sender_of(api.url) as sender:
        answer = await sender.dial(ACTION, CALL_ID)
    assert answer.result == "tried"
    assert answer.error is not None
    assert not api.dials.calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_after", [*KINDS, None])
async def test_no_fault_makes_two_calls_of_one(api: ApiServer, kind: str, kind_after: str | None) -> None:
    """Asked for until it is final, as the dispatcher does, and what is said of it is true."""
    api.dial_faults = Faults(**{kind: 1.0}, retry_after_s=0, late_s=0)  # type: ignore[arg-type]
    async with sender_of(api.url) as sender:
        answer = await sender.dial(ACTION, CALL_ID)
        if answer.result == "tried":
            api.dial_faults = Faults()
            answer = await sender.dial(ACTION, CALL_ID)
        if kind_after is not None:
            api.faults = Faults(**{kind_after: 1.0}, retry_after_s=0)  # type: ignore[arg-type]
        if answer.result == "unknown":
            answer = await sender.settle(CALL_ID, sleep=at_once, pauses_s=(1, 1))
    posts = [request for request in api.requests if request.method == "POST"]
    assert len(posts) == (2 if kind == "too_many" else 1)
    made = api.dials.by_call_id[CALL_ID]
    assert made == (0 if kind == "unheard" else 1)
    is_open = kind_after is not None and kind != "too_many"
    assert answer.result == ("unknown" if is_open else "sent" if made else "failed")


async def test_an_answer_that_does_not_come_is_asked_for_later(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call was made, and the one request never repeated."""
    api.dial_faults = Faults(slow=1.0, slow_s=60)
    with monkeypatch.context() as patch:
        patch.setattr(transport, "TIMEOUT", aiohttp.ClientTimeout(total=30, sock_read=0.2))
        async with sender_of(api.url) as sender:
            answer = await sender.dial(ACTION, CALL_ID)
            while answer.result == "tried":  # a machine so slow that the question before it got no answer
                answer = await sender.dial(ACTION, CALL_ID)
            assert answer.result == "unknown"
    async with sender_of(api.url) as sender:
        assert (await sender.settle(CALL_ID, sleep=at_once)).result == "sent"
    assert api.dials.by_call_id == {CALL_ID: 1}


async def test_a_call_that_may_have_been_made_is_not_asked_for_again(api: ApiServer) -> None:
    """Not even by a caller who does not settle it, while Verbex does not know it yet."""
    api.dial_faults = Faults(late=1.0, late_s=60)
    async with sender_of(api.url) as sender:
        results = [(await sender.dial(ACTION, CALL_ID)).result for _ in range(3)]
    assert results == ["unknown"] * 3
    assert api.dials.by_call_id == {CALL_ID: 1}


async def test_two_at_once_make_one_call(api: ApiServer) -> None:
    """Even if a caller has lost count."""
    async with sender_of(api.url) as sender:
        answers = await asyncio.gather(*(sender.dial(ACTION, CALL_ID) for _ in range(2)))
    assert sorted(answer.result for answer in answers) == ["sent", "unknown"]
    assert api.dials.by_call_id == {CALL_ID: 1}


STATUSES = {
    **dict.fromkeys((400, 402, 403, 404, 405, 410, 413, 422), "failed"),
    **dict.fromkeys((401, 429), "tried"),
    **dict.fromkeys((302, 303, 307, 408, 409, 425, 500, 502, 503, 504), "unknown"),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
async def test_a_status_is_certain_or_not(status: int, content_type: str) -> None:
    """Only a plain refusal counts as not made, and only a fault of ours is tried again."""

    async def answer(request: web.Request) -> web.Response:
        is_question = request.method == "GET"
        return web.Response(
            text="{}",
            status=404 if is_question else status,
            content_type="application/json" if is_question else content_type,
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, sender_of(str(server.make_url("")).rstrip("/")) as sender:
        answered = await sender.dial(ACTION, CALL_ID)
    assert (answered.result, answered.http_status) == (STATUSES[status], status)
    assert "\n" not in str(answered.error)


async def test_a_call_that_is_known_late_is_found(api: ApiServer) -> None:
    """It is asked for with growing pauses, for two minutes."""
    slept: list[float] = []

    async def sleep(pause_s: float) -> None:
        slept.append(pause_s)

    began_us = api.world.start_us
    api.now_us = lambda: began_us + int(sum(slept) * 1_000_000)
    api.dial_faults = Faults(late=1.0, late_s=110)
    async with sender_of(api.url) as sender:
        assert (await sender.dial(ACTION, CALL_ID)).result == "unknown"
        answer = await sender.settle(CALL_ID, sleep=sleep)
    assert (answer.result, answer.links) == ("sent", {"call_id": CALL_ID})
    assert slept == list(PAUSES_S)
    assert sum(PAUSES_S) == 120


async def test_what_verbex_never_has_was_not_made(api: ApiServer) -> None:
    """A person may dial again. It is not done by itself."""
    async with sender_of(api.url) as sender:
        answer = await sender.settle(CALL_ID, sleep=at_once)
    assert answer.result == "failed"
    assert answer.error == (
        f"Verbex has no call {CALL_ID}: it was not made; `verbex-sync actions retry` dials again."
    )
    assert {request.method for request in api.requests} == {"GET"}


async def test_the_last_answer_settles(api: ApiServer) -> None:
    """An API that comes back in time decides."""

    async def come_back(_: float) -> None:
        api.faults = Faults()

    api.faults = Faults(server_error=1.0)
    async with sender_of(api.url) as sender:
        assert (await sender.settle(CALL_ID, sleep=come_back, pauses_s=(1,))).result == "failed"
        api.faults = Faults(server_error=1.0)
        answer = await sender.settle(CALL_ID, sleep=at_once, pauses_s=(1,))
    assert answer.result == "unknown"
    assert answer.error is not None
    assert CALL_ID in answer.error


async def test_a_refused_call_has_failed(api: ApiServer) -> None:
    """What Verbex says of it is kept."""
    action = action_of(override_ai_agent_id="no such agent")
    async with sender_of(api.url) as sender:
        answer = await sender.dial(action, CALL_ID)
    assert (answer.result, answer.http_status) == ("failed", 422)
    assert "such agent" in str(answer.error)
    assert "\n" not in str(answer.error)


async def test_a_wrong_key_is_a_fault_of_the_installation(api: ApiServer) -> None:
    """It is asked for again once the key is right, and was not asked for until then."""
    async with sender_of(api.url, "wrong") as sender:
        answer = await sender.dial(ACTION, CALL_ID)
    assert (answer.result, answer.http_status) == ("tried", 401)
    assert not api.dials.calls


async def test_too_many_requests_say_how_long_to_wait(api: ApiServer) -> None:
    """Nothing was made, so the same call may be asked for later."""
    api.dial_faults = Faults(too_many=1.0, retry_after_s=90)
    async with sender_of(api.url) as sender:
        answer = await sender.dial(ACTION, CALL_ID)
        assert (answer.result, answer.http_status, answer.retry_after_s) == ("tried", 429, 90)
        api.dial_faults = Faults()
        assert (await sender.dial(ACTION, CALL_ID)).result == "sent"
    assert api.dials.by_call_id == {CALL_ID: 1}


async def test_nothing_is_dialled_where_no_one_listens() -> None:
    """It is tried again."""
    async with sender_of("http://127.0.0.1:1") as sender:
        answer: Answer = await sender.dial(ACTION, CALL_ID)
    assert (answer.result, answer.http_status) == ("tried", None)
