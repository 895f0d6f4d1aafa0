"""The other end of an action: a webhook receiver on localhost that verifies, counts, and fails at will.

What it does with a request belongs here. See `connector.simulator.faults` for the kinds of fault.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import msgspec
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from connector.simulator.faults import Faults, break_answer

_BEFORE_HANDLING = ("too_many", "server_error", "reset")
"""Faults of a receiver that did nothing yet. With other faults it has done the work, and fails to say so."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it came, with its headers in lower case and the injected fault. `at` is UTC."""

    at: datetime
    webhook_id: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str | None


class DestinationServer:
    """A receiver of Standard Webhooks, which runs while its context is open.

    A request with a wrong signature is answered 401 and not counted. Every other one is answered with a
    ticket, `{"ticket_id": "T-1", "ticket": {"id": 1}}`: the same one however often the same `webhook-id`
    comes. The fault of a request depends on the seed, its `webhook-id` and how often that came.

    Attributes:
        url: Where it listens.
        requests: Every request with a right signature, in the order of arrival, those with faults included.
        refused: The number of requests with a wrong signature.
        handled: How often each `webhook-id` was handled. Hung, reset and refused requests were not; a
            `dropped` one was, although the sender has no answer.
        faults: The faults to inject; they may change while it runs.

    Args:
        secret: The secret that requests must be signed with, `whsec_` and base64; None accepts unsigned ones.
        faults: The faults to inject, with their rates. `slow` hangs for `slow_s`, or until the sender leaves.
        port: The port to listen on; 0 for any free one.
    """

    def __init__(self, secret: str | None = None, *, faults: Faults | None = None, port: int = 0) -> None:
        self.url = ""
        self.faults = faults or Faults()
        self.requests: list[ReceivedRequest] = []
        self.refused = 0
        self.handled: Counter[str] = Counter()
        self._webhook = Webhook(secret) if secret is not None else None
        self._seen: Counter[str] = Counter()
        self._tickets: dict[str, int] = {}
        self._port = port
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        # A handler ends with its connection, so that what hung is not handled behind the sender's back.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        webhook_id = headers.get("webhook-id", "")
        if not self._is_signed(body, headers):
            self.refused += 1
            return web.json_response({"error": "wrong signature"}, status=401)
        fault = self.faults.draw(webhook_id, self._seen[webhook_id])
        self._seen[webhook_id] += 1
        self.requests.append(ReceivedRequest(datetime.now(UTC), webhook_id, headers, body, fault))
        if fault in _BEFORE_HANDLING:
            return await break_answer(fault, self.faults, request, web.Response())
        if fault == "slow":
            await asyncio.sleep(self.faults.slow_s)
        answer = self._handle(webhook_id)
        if fault is None or fault == "slow":
            return answer
        return await break_answer(fault, self.faults, request, answer)

    def _is_signed(self, body: bytes, headers: dict[str, str]) -> bool:
        if self._webhook is None:
            return True
        try:
            self._webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):  # also a signature that is no base64, or no UTF-8
            return False
        return True

    def _handle(self, webhook_id: str) -> web.Response:
        self.handled[webhook_id] += 1
        number = self._tickets.setdefault(webhook_id, len(self._tickets) + 1)
        ticket = msgspec.json.encode({"ticket_id": f"T-{number}", "ticket": {"id": number}})
        return web.Response(body=ticket, content_type="application/json")
