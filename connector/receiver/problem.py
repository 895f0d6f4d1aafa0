"""Problem documents (RFC 9457): every answer of the receiver that is not a yes.

The shape of a refusal belongs here; what is refused is `connector.receiver.handler`'s to say. A detail is a
sentence that a person can act on, and quotes no secret, payload or signature.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

RETRY_AFTER_S = 5


class Refused(Exception):  # noqa: N818 - it reads as what it is
    """A request that is answered by a problem document; `reason` is a short word for counting."""

    def __init__(
        self, status: HTTPStatus, reason: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers


def to_response(refused: Refused, **members: object) -> web.Response:
    """The answer for a refusal; `members` are further members of the document."""
    status = refused.status
    document = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": str(refused)}
    response = web.Response(
        status=status,
        body=msgspec.json.encode(document | members),
        content_type="application/problem+json",
        headers=refused.headers,
    )
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response
