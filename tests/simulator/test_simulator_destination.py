"""The simulated receiver of actions: what it accepts, counts and breaks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook
from support.actions import SECRET
from support.deadline import HANG_S

from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults

BODY = '{"call_id": "c1"}'


def headers(webhook_id: str = "a") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(webhook_id, now, BODY),
    }


async def post(server: DestinationServer, sent: dict[str, str], timeout_s: float = 60) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(server.url, data=BODY, headers=sent) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_the_same_id_gets_the_same_ticket_and_is_counted() -> None:
    """As a helpdesk does that looks for repetitions."""
    async with DestinationServer(SECRET) as server:
        for webhook_id, ticket in (("a", 1), ("b", 2), ("a", 1)):
            expected = {"ticket_id": f"T-{ticket}", "ticket": {"id": ticket}}
            assert await post(server, headers(webhook_id)) == (200, expected)
    assert server.handled == {"a": 2, "b": 1}
    assert [request.body for request in server.requests] == [BODY.encode()] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "no signature"},
        {"webhook-signature": ""},
        {"webhook-id": "b"},
        {"webhook-timestamp": str(int((datetime.now(UTC) - timedelta(hours=1)).timestamp()))},
    ],
)
async def test_a_wrong_signature_is_refused_and_counts_for_nothing(changes: dict[str, str]) -> None:
    """Also one of another time."""
    async with DestinationServer(SECRET) as server:
        assert (await post(server, headers() | changes))[0] == 401
    assert (server.refused, server.requests, dict(server.handled)) == (1, [], {})


async def test_a_dropped_answer_was_handled_and_a_reset_was_not() -> None:
    """The sender sees the same."""
    async with DestinationServer() as server:
        for kind, handled in (("reset", 0), ("dropped", 1)):
            server.faults = Faults(**{kind: 1.0})  # type: ignore[arg-type]
            with pytest.raises(aiohttp.ClientError):
                await post(server, headers())
            assert (server.handled["a"], server.requests[-1].fault) == (handled, kind)


async def test_what_hangs_is_not_handled_once_the_sender_has_left() -> None:
    """So that a test knows how often something was done."""
    async with DestinationServer(faults=Faults(slow=1.0, slow_s=10 * HANG_S)) as server:
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await post(server, headers(), timeout_s=0.1)
        if hung := asyncio.all_tasks() - before:
            _, hung = await asyncio.wait(hung, timeout=HANG_S)
        assert not hung
    assert dict(server.handled) == {}


async def test_a_busy_receiver_says_when_to_come_again() -> None:
    """And has done nothing."""
    async with DestinationServer(faults=Faults(too_many=1.0)) as server:
        assert (await post(server, headers()))[0] == 429
    assert dict(server.handled) == {}
