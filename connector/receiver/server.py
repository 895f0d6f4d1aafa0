"""aiohttp's server with limits: on connections, on header sizes, on patience, on what errors tell.

What holds for every request before it is understood belongs here; answers are `connector.receiver.handler`'s.
"""

import asyncio
import logging
import socket
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from connector.metrics import Metrics
from connector.receiver.handler import Receiver
from connector.receiver.problem import RETRY_AFTER_S, Refused, to_response

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
MAX_HEADER_BYTES = 4096
MAX_HEADERS = 64
READ_BUFFER_BYTES = 16_384
KEEPALIVE_TIMEOUT_S = 75.0
"""How long a connection may take to send a request's headers; a proxy keeps its own for 60 s, often."""
UNREAD_TIMEOUT_S = 30.0
"""How long answers may wait for a sender that does not read them."""

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it

_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class Server(web.Server):
    """Serves a receiver; a connection too many is told so and closed."""

    def __init__(
        self,
        receiver: Receiver,
        metrics: Metrics,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
        unread_timeout_s: float = UNREAD_TIMEOUT_S,
    ) -> None:
        super().__init__(receiver.handle)
        self._metrics = metrics
        self._unread_timeout_s = unread_timeout_s
        self._max_connections = max_connections
        self._keepalive_timeout_s = keepalive_timeout_s

    def __call__(self) -> web.RequestHandler:
        """The protocol of one new connection."""
        if len(self.connections) >= self._max_connections:
            self._metrics.refused.labels("connections").inc()
            return _TurnedAway()  # type: ignore[return-value]  # the event loop asks for no more
        return _Connection(
            self,
            self._metrics,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,  # the bytes received are the bytes stored, so no bomb can go off
            keepalive_timeout=self._keepalive_timeout_s,
            lingering_time=1.0,
            max_field_size=MAX_HEADER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BUFFER_BYTES,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Let the kernel end a connection whose sender reads no answers: it would keep its place for good."""
        super().connection_made(handler, transport)
        if _TCP_USER_TIMEOUT is not None:
            timeout_ms = round(self._unread_timeout_s * 1000)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, timeout_ms)


class _TurnedAway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say that there is no place, and hang up."""
        stream = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        stream.write(_FULL)
        stream.close()


class _Connection(web.RequestHandler):
    __slots__ = ("_metrics",)

    def __init__(self, server: Server, metrics: Metrics, **options: Any) -> None:  # noqa: ANN401
        super().__init__(server, **options)
        self._metrics = metrics

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - it may be aiohttp's stand-in for no request at all
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        """A problem document for what never reached the receiver, or broke it."""
        kind = type(exc).__name__
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.info("A request was no HTTP", extra={"error": kind, "status": status})
            refused = Refused(HTTPStatus(status), "no_http", f"The request can't be read as HTTP ({kind}).")
        else:
            logger.error("A request broke the receiver", extra={"error": kind, "where": _innermost(exc)})
            detail = "The receiver failed on this request; its log says where. Try again later."
            refused = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
        self._metrics.refused.labels(refused.reason).inc()
        response = to_response(refused)
        response.force_close()
        return response

    def log_exception(self, *args: object, **kw: object) -> None:
        """Name the error's type, since its text may quote the request."""
        kind = type(kw.get("exc_info")).__name__
        logger.error("A connection broke", extra={"error": kind, "about": str(args[:1])})


def _innermost(error: BaseException | None) -> str:
    trace = error.__traceback__ if error else None
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
