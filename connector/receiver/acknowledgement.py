"""The answer to an event that was stored, composed as one piece of bytes.

This one answer belongs here; every refusal is `connector.receiver.problem`'s. Nearly all the receiver says is
this, and a general response, ready for cookies, encodings and streams, takes longer to build than it takes to
verify the event and to store it.

Source: RFC 9112 for the bytes, RFC 9110 for the headers.
"""

from email.utils import formatdate
from functools import lru_cache

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


class Acknowledgement(web.StreamResponse):
    """200, with the event's trace id as a JSON document."""

    def __init__(self, trace_id: str | None, *, is_last: bool, at_s: int) -> None:
        """Prepare.

        Args:
            trace_id: Of the event.
            is_last: Whether the connection ends with this answer.
            at_s: The time of the answer, UTC, UNIX seconds.
        """
        super().__init__()
        self._is_last = is_last
        self._document = msgspec.json.encode({"traceId": trace_id})
        self._head = _head(at_s, is_last)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return not self._is_last

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send the whole of it, and wait while the sender leaves too many answers unread."""
        writer = request.writer
        await writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(self._document), self._document))
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


@lru_cache(maxsize=4)
def _head(at_s: int, is_last: bool) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        f"Date: {formatdate(at_s, usegmt=True)}\r\n"
        f"Connection: {'close' if is_last else 'keep-alive'}\r\n"
        "Content-Length: "
    ).encode()
