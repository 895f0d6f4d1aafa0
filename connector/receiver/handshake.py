"""TLS handshakes: bounded in number and in time, before a connection is counted as one.

Only the handshake belongs here. See `connector.receiver.server` for the connections that come out of it, and
`connector.receiver.tls` for the certificate.

The event loop's own TLS server announces a connection only after its handshake. So connections that stay
silent would be counted nowhere, and would take every file descriptor, those of the journal too. The same is
true of connections that are turned away right after it and do not answer the end of TLS, so these count as
unfinished too.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from connector.metrics import Metrics
from connector.receiver.tls import Certificate
from connector.receiver.turned_away import TurnedAway

HANDSHAKE_TIMEOUT_S = 10.0


class Handshakes:
    """The unfinished handshakes of a server. When there are too many, the oldest one makes room.

    So a sender that needs milliseconds for its handshake gets in even while silent connections arrive.
    """

    def __init__(
        self,
        certificate: Certificate,
        accept: Callable[[], asyncio.Protocol],
        metrics: Metrics,
        *,
        most: int,
        timeout_s: float,
    ) -> None:
        """Prepare.

        Args:
            certificate: Its context at the beginning of a handshake is used.
            accept: Gives the protocol that continues with an encrypted connection.
            metrics: The metrics to count failed handshakes in.
            most: The number of handshakes that may be unfinished at the same time.
            timeout_s: The time that a handshake may take, and later the end of TLS.
        """
        self._certificate = certificate
        self._accept = accept
        self._metrics = metrics
        self._most = most
        self._timeout_s = timeout_s
        self._unfinished: dict[asyncio.Task[None], socket.socket] = {}  # oldest first

    def __len__(self) -> int:
        """Return how many handshakes are unfinished."""
        return len(self._unfinished)

    def begin(self, connection: socket.socket) -> None:
        """Start the handshake of a connection that was just accepted."""
        while len(self._unfinished) >= self._most:
            oldest = self._unfinished.pop(next(iter(self._unfinished)))
            with suppress(OSError):  # the other side may have closed it already
                oldest.shutdown(socket.SHUT_RDWR)  # its handshake fails now
        task = asyncio.create_task(self._shake_hands(connection))
        self._unfinished[task] = connection
        task.add_done_callback(lambda done: self._unfinished.pop(done, None))

    def fail(self) -> None:
        """Count a handshake that can't even begin."""
        self._metrics.refused.labels("tls_handshake").inc()

    async def _shake_hands(self, connection: socket.socket) -> None:
        protocol = self._accept()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=self._timeout_s,
            )
        except OSError:  # no TLS, too slow, or closed meanwhile, by us or by the other side
            self.fail()
        else:
            if isinstance(protocol, TurnedAway):
                await protocol.closed.wait()


class Arrival(asyncio.Protocol):
    """A connection that was just accepted. Its socket is taken over before anything is read from it."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        # A socket of our own for the same connection: the transport has begun to read when `start_tls` could
        # be called, and the client's first bytes would be lost.
        try:
            connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:  # too many connections at the same instant
            self._handshakes.fail()
        else:
            connection.setblocking(False)
            self._handshakes.begin(connection)
        finally:
            transport.abort()  # type: ignore[attr-defined]  # a stream's transport has it
