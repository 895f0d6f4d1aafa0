"""The receiver's HTTP handler: authenticate, store, answer.

Routes, limits on what is read, and the status of each answer belong here. The meaning of an event does not.
See `connector.journal.group_commit` for how an event becomes durable, and `connector.serve` for the process.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

from connector.journal.delivery import Delivery
from connector.journal.group_commit import CannotStoreError, Journal
from connector.landing.zones import VerifiedBy
from connector.metrics import CONTENT_TYPE, Metrics
from connector.receiver.acknowledgement import Acknowledgement
from connector.receiver.auth import AuthenticationError, Authenticator
from connector.receiver.headers import keep_headers
from connector.receiver.peers import LOOPBACK, PeerPolicy
from connector.receiver.problem import SERVER, Refused, to_response
from connector.receiver.redaction import Redactor
from connector.receiver.refusals import Refusals
from connector.verbex.envelope import read_envelope

logger = logging.getLogger(__name__)

WEBHOOK_PATH = "/webhooks/verbex"
METRICS_PATH = "/metrics"
BODY_TIMEOUT_S = 30.0
MAX_ARRIVING_BYTES = 64 * 1024 * 1024
"""The limit on bytes of incomplete bodies in memory, over all connections."""

_JSON = {hdrs.CONTENT_TYPE: "application/json"} | SERVER


class Receiver:
    """The handler of requests. It sends a 200 only after the delivery's bytes are durable."""

    def __init__(
        self,
        journal: Journal,
        authenticator: Authenticator,
        metrics: Metrics,
        *,
        peers: PeerPolicy = PeerPolicy(),  # noqa: B008 - it is frozen
        ops: PeerPolicy = LOOPBACK,
        redactor: Redactor = Redactor(),  # noqa: B008 - it is frozen
        max_body_bytes: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare the handler.

        Args:
            journal: A started journal.
            authenticator: The rules for who may deliver.
            metrics: The metrics to count in.
            peers: The networks that may deliver.
            ops: The networks that may see the metrics.
            redactor: Removes our own secrets from what is stored.
            max_body_bytes: A larger body is refused.
            clock_ns: The current time, UTC, UNIX nanoseconds.
        """
        self._journal = journal
        self._authenticator = authenticator
        self._metrics = metrics
        self._peers = peers
        self._ops = ops
        self._redactor = redactor
        self._refusals = Refusals(metrics)
        self._max_body_bytes = max_body_bytes
        self._arriving_bytes = 0
        self._clock_ns = clock_ns
        self._gets: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/healthz": self._is_alive,
            "/readyz": self._is_ready,
            METRICS_PATH: self._render_metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        try:
            # HTTP allows other spellings of the same path, and people add slashes to it.
            if request.raw_path.partition("?")[0] != WEBHOOK_PATH and _plain(request.path) != WEBHOOK_PATH:
                return await self._answer_get(request)
            self._admit(request)
            if request.content.is_eof():  # nearly always: the body arrived with the headers
                body = request.content.read_nowait()
            else:
                body = await self._wait_for_body(request)
            return await self._receive(request, body)
        except Refused as refused:
            self._metrics.refused.labels(refused.reason).inc()
            return to_response(refused)

    def _admit(self, request: web.BaseRequest) -> None:
        if request.method != "POST":
            raise _wrong_method("POST")
        if self._peers.allowed:
            self._check_peer(request)

    async def _receive(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if len(body) > self._max_body_bytes:
            raise self._too_large()
        now_ns = self._clock_ns()
        verified_by = self._authenticate(request, body, now_ns)
        # The proof was of the bytes as they came, so only what is kept of them is changed.
        kept = self._redactor.clean(body)
        headers = self._redactor.clean_headers(keep_headers(request.headers))
        if kept is not body:
            self._metrics.secrets_removed.inc()
            logger.warning("A body held a secret of this receiver, which was cut out. Change that secret")
        trace_id, event_name, problem = read_envelope(kept)
        delivery = Delivery(now_ns // 1000, trace_id, event_name, verified_by, problem, headers, kept)
        try:
            await self._journal.append(delivery)
        except CannotStoreError as error:
            raise _unavailable(str(error)) from None
        self._metrics.count_stored(verified_by, is_event=problem is None)
        if problem is None:
            return Acknowledgement(trace_id, is_last=not request.keep_alive, at_s=now_ns // 1_000_000_000)
        refused = Refused(HTTPStatus.BAD_REQUEST, "no_event", problem)
        return to_response(refused, stored=True, traceId=trace_id)

    async def _wait_for_body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self._max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await self._read_slow_body(request)
        except TimeoutError:
            detail = f"The body did not arrive within {BODY_TIMEOUT_S:g} s. Send the event again."
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "slow_body", detail) from None
        except (web.RequestPayloadError, ConnectionError):
            detail = "The body is incomplete or badly encoded. Send the whole event again."
            raise Refused(HTTPStatus.BAD_REQUEST, "broken_body", detail) from None

    async def _read_slow_body(self, request: web.BaseRequest) -> bytes:
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            while chunk := await request.content.readany():
                body += chunk
                self._arriving_bytes += len(chunk)
                if len(body) > self._max_body_bytes:
                    raise self._too_large()
                if self._arriving_bytes > MAX_ARRIVING_BYTES:
                    raise _unavailable("Too many bodies are arriving at the same time.")
        finally:
            self._arriving_bytes -= len(body)
        return bytes(body)

    def _check_peer(self, request: web.BaseRequest) -> None:
        if not self._peers.is_allowed(request.remote, request.headers.getall("X-Forwarded-For", [])):
            detail = "This network may not deliver events. To allow it, add it to VERBEX_ALLOWED_NETWORKS."
            raise Refused(HTTPStatus.FORBIDDEN, "network", detail)

    def _authenticate(self, request: web.BaseRequest, body: bytes, now_ns: int) -> VerifiedBy:
        try:
            verified_by = self._authenticator.authenticate(request.headers, body, now_s=now_ns / 1e9)
        except AuthenticationError as error:
            self._refusals.add(error.reason)
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refused(HTTPStatus.UNAUTHORIZED, error.reason, str(error), headers=headers) from None
        self._refusals.end()
        return verified_by

    def _may_see_metrics(self, request: web.BaseRequest) -> bool:
        forwarded_for = request.headers.getall("X-Forwarded-For", [])
        if hdrs.FORWARDED in request.headers and not forwarded_for:
            return False  # a proxy that says for whom only in a header that is not read here
        return self._ops.is_allowed_through_named(request.remote, forwarded_for)

    async def _answer_get(self, request: web.BaseRequest) -> web.Response:
        answer = self._gets.get(request.path)
        if answer is None or (request.path == METRICS_PATH and not self._may_see_metrics(request)):
            detail = f"There is nothing at this path. Send events with POST to {WEBHOOK_PATH}."
            raise Refused(HTTPStatus.NOT_FOUND, "not_found", detail)
        if request.method not in ("GET", "HEAD"):
            raise _wrong_method("GET, HEAD")
        return await answer()

    async def _is_alive(self) -> web.Response:
        return _json({"status": "ok"})

    async def _is_ready(self) -> web.Response:
        if not await self._journal.probe():
            raise _unavailable("The receiver can't store deliveries now. Its log gives the cause.")
        return _json({"status": "ok"})

    async def _render_metrics(self) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE} | SERVER)

    def _too_large(self) -> Refused:
        detail = (
            f"The body is larger than {self._max_body_bytes} bytes. "
            "To accept it, increase VERBEX_MAX_BODY_BYTES."
        )
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), headers=_JSON)


def _plain(path: str) -> str:
    return re.sub("/+", "/", path).rstrip("/")


def _wrong_method(allowed: str) -> Refused:
    detail = f"This path accepts only {allowed}."
    return Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method", detail, headers={"Allow": allowed})


def _unavailable(detail: str) -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "cannot_store", f"{detail} Try again later.")
