"""aiohttp's server with limits: on connections, on header sizes, on waiting, on what errors reveal.

Rules that apply to every request before it is understood belong here. See `connector.receiver.handler` for
the answers.
"""

import asyncio
import logging
import socket
from http import HTTPStatus
from typing import Any

from aiohttp import web

from connector.metrics import Metrics
from connector.receiver.descriptors import handshakes_beside
from connector.receiver.handler import Receiver
from connector.receiver.handshake import HANDSHAKE_TIMEOUT_S, Arrival, Handshakes
from connector.receiver.problem import Refused, to_response
from connector.receiver.tls import Certificate
from connector.receiver.turned_away import TurnedAway

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
MAX_HEADER_BYTES = 4096
MAX_HEADERS = 64
READ_BUFFER_BYTES = 16_384
KEEPALIVE_TIMEOUT_S = 75.0
"""The time that a connection has to send a request's headers. Many proxies keep idle connections for 60 s."""
UNREAD_TIMEOUT_S = 30.0
"""The time that answers may wait for a sender that does not read them."""

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it


class Server(web.Server):
    """The server of a receiver. A connection above the limit gets 503 and is closed."""

    def __init__(
        self,
        receiver: Receiver,
        metrics: Metrics,
        *,
        certificate: Certificate | None = None,
        max_connections: int = MAX_CONNECTIONS,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
        unread_timeout_s: float = UNREAD_TIMEOUT_S,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        super().__init__(receiver.handle)
        self._metrics = metrics
        self._unread_timeout_s = unread_timeout_s
        self._max_connections = max_connections
        self._keepalive_timeout_s = keepalive_timeout_s
        self._handshakes: Handshakes | None = None
        if certificate is not None:
            most = handshakes_beside(max_connections)
            self._handshakes = Handshakes(
                certificate, self._accept, metrics, most=most, timeout_s=handshake_timeout_s
            )

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # the event loop needs no more
        """Return the protocol for one new connection."""
        return self._accept() if self._handshakes is None else Arrival(self._handshakes)

    def _accept(self) -> asyncio.Protocol:
        others = len(self.connections)
        if self._handshakes is not None:
            others += len(self._handshakes) - 1  # the connection itself is one of them
        if others >= self._max_connections:
            self._metrics.refused.labels("connections").inc()
            return TurnedAway()
        return _Connection(
            self,
            self._metrics,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,  # bytes are stored as received, so a gzip bomb is never inflated
            keepalive_timeout=self._keepalive_timeout_s,
            lingering_time=1.0,
            max_field_size=MAX_HEADER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BUFFER_BYTES,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Let the kernel end a connection whose sender reads no answers, because it would stay forever."""
        super().connection_made(handler, transport)
        if _TCP_USER_TIMEOUT is not None:
            timeout_ms = round(self._unread_timeout_s * 1000)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, timeout_ms)


class _Connection(web.RequestHandler):
    __slots__ = ("_metrics",)

    def __init__(self, server: Server, metrics: Metrics, **options: Any) -> None:  # noqa: ANN401
        super().__init__(server, **options)
        self._metrics = metrics

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - it may be aiohttp's placeholder for a missing request
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        """Return a problem document for a request that is not HTTP, or on which the receiver failed."""
        kind = type(exc).__name__
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.info("A request is not valid HTTP", extra={"error": kind, "status": status})
            refused = Refused(HTTPStatus(status), "no_http", f"The request is not valid HTTP ({kind}).")
        else:
            logger.error("The receiver failed on a request", extra={"error": kind, "where": _innermost(exc)})
            detail = "The receiver failed on this request. Its log shows where. Try again later."
            refused = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
        self._metrics.refused.labels(refused.reason).inc()
        response = to_response(refused)
        response.force_close()
        return response

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log only the error's type, because its text may quote the request."""
        kind = type(kw.get("exc_info")).__name__
        logger.error("A connection failed", extra={"error": kind, "about": str(args[:1])})


def _innermost(error: BaseException | None) -> str:
    trace = error.__traceback__ if error else None
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
