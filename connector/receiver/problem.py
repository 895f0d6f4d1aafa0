"""Problem documents (RFC 9457): the receiver's answers to requests that it refuses.

The shape of a refusal belongs here. `connector.receiver.handler` decides what is refused. A detail is a
sentence that a person can act on, and quotes no secret, payload or signature.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

RETRY_AFTER_S = 5
SERVER = {"Server": "verbex-sync"}
"""The header that aiohttp would otherwise fill with its version and Python's."""


class Refused(Exception):  # noqa: N818 - a refusal is no error of ours
    """A refused request, answered with a problem document. `reason` is a short word for metrics."""

    def __init__(
        self, status: HTTPStatus, reason: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers


def to_response(refused: Refused, **members: object) -> web.Response:
    """Return the answer for a refusal. `members` are added to the document."""
    status = refused.status
    document = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": str(refused)}
    response = web.Response(
        status=status,
        body=msgspec.json.encode(document | members),
        content_type="application/problem+json",
        headers={**SERVER, **(refused.headers or {})},
    )
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response
