"""The protocol of a connection above the limit: one short answer, and its end.

Only this answer belongs here. See `connector.receiver.server` for the limit.
"""

import asyncio
from typing import cast

from connector.receiver.problem import RETRY_AFTER_S

_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class TurnedAway(asyncio.Protocol):
    """A connection that gets 503 and is closed. `closed` is set once it is: TLS waits for the other side."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send 503 and close the connection."""
        stream = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it
        stream.write(_FULL)
        stream.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end."""
        self.closed.set()
