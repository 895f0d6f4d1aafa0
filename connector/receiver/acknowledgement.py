"""The answer to a stored event, composed as one piece of bytes.

Only this answer belongs here. See `connector.receiver.problem` for refusals. Nearly every answer of the
receiver is this one. aiohttp's general response supports cookies, encodings and streams, and building it
takes longer than verifying and storing the event.

Source: RFC 9112 for the bytes, RFC 9110 for the headers.
"""

from email.utils import formatdate
from functools import lru_cache

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


class Acknowledgement(web.StreamResponse):
    """The response 200 with the event's trace id as a JSON document."""

    def __init__(self, trace_id: str | None, *, is_last: bool, at_s: int) -> None:
        """Prepare the answer.

        Args:
            trace_id: The trace id of the event.
            is_last: Whether the connection ends after this answer.
            at_s: The time of the answer, UTC, UNIX seconds.
        """
        super().__init__()
        self._is_last = is_last
        self._document = msgspec.json.encode({"traceId": trace_id})
        self._head = _head(at_s, is_last)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection accepts another request."""
        return not self._is_last

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send the whole answer, and wait while the sender leaves too many answers unread."""
        writer = request.writer
        await writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(self._document), self._document))
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing, because `prepare` has sent everything."""


@lru_cache(maxsize=4)
def _head(at_s: int, is_last: bool) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        f"Date: {formatdate(at_s, usegmt=True)}\r\n"
        f"Connection: {'close' if is_last else 'keep-alive'}\r\n"
        "Content-Length: "
    ).encode()
