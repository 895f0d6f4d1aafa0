"""Actions sent as HTTP requests, signed as Standard Webhooks has it.

The request, sending it once, and the meaning of the answer belong here. When to send again does not. Where a
request goes does not either: see `pipelines.actions.destinations`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self

import aiohttp
from standardwebhooks import Webhook
from yarl import URL

from connector.known_secrets import known_secrets
from connector.settings import Settings
from connector.system.proxies import proxy_for
from connector.verbex.credentials import secret_forms
from connector.verbex.pace import longest_wait_s
from connector.verbex.transport import MAX_HEADER_BYTES, MAX_HEADERS
from pipelines.actions.action import MOST_ANSWER_BYTES, Action, Answer, Result
from pipelines.actions.destinations import HttpDestination
from pipelines.actions.kept import clean_body, read_links

TIMEOUT_S = 30.0
"""How long one attempt may take, from the look-up of the name to the end of the answer [s]."""

_WORTH_ANOTHER_TRY = (
    *(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS),
)


@dataclass(frozen=True)
class HttpRequest:
    """A request as it goes out; the client adds only `Host` and `Content-Length`. It holds secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def request_of(action: Action, destination: HttpDestination, at: datetime) -> HttpRequest:
    """Return the request for an attempt at an action. `at` is the time of the attempt."""
    given = {name.lower() for name in destination.headers}
    # A receiver such as Zendesk drops a repetition by this one.
    unless_given = {"Accept": "*/*", "Idempotency-Key": action.action_id}
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "verbex-sync",
        # No answer is inflated, so none can be a thousand times as large as what was sent.
        "Accept-Encoding": "identity",
        **{name: value for name, value in unless_given.items() if name.lower() not in given},
        **destination.headers,
        "webhook-id": action.action_id,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if destination.secret is not None:
        # The library takes the digits of a time for UTC, whatever its time zone.
        headers["webhook-signature"] = Webhook(destination.secret).sign(
            action.action_id, at.astimezone(UTC), action.body.decode()
        )
    return HttpRequest("POST", destination.url, headers, action.body)


class HttpSender:
    """The sending of requests, one attempt each. Open it with `async with`.

    Args:
        settings: The settings whose secrets are cut out of every answer.
        clock: Returns the current time with its time zone.
        timeout_s: How long one attempt may take [s].
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], datetime], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._forms = secret_forms(known_secrets(settings))
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        # a secret across the end of what is kept must still be found
        self._most_bytes = MOST_ANSWER_BYTES + max(map(len, self._forms), default=0)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Whoever calls limits what is in flight: in a queue here, one dead destination would hold up all.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=self._timeout,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, action: Action, destination: HttpDestination) -> Answer:
        """Send a request once and return what came of it. No failure of the other side raises an error."""
        request = request_of(action, destination, self._clock())
        url = URL(request.url, encoded=True)
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy_for(url),
            ) as response:
                return self._answer(action, url, response, await self._read_body(response))
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            # A UnicodeError is a name with a part of more than 63 characters, which no one can look up.
            return Answer("tried", error=f"{url.host} gave no answer ({type(error).__name__}).")

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body up to the limit, or to where it broke off: the status has said all that counts."""
        body = bytearray()
        try:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._most_bytes:
                    break
        except (aiohttp.ClientError, OSError):
            pass
        return bytes(body[: self._most_bytes + 1])

    def _answer(self, action: Action, url: URL, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        result = _result_of(response.status)
        kept = clean_body(body, self._forms)
        is_tried = result == "tried"
        return Answer(
            result,
            response.status,
            error=None if result == "sent" else _explain(action, url, response.status),
            retry_after_s=longest_wait_s(response.headers, self._clock()) if is_tried else None,
            body=kept,
            links=read_links(kept, action.keep) if result == "sent" else {},
        )


def _result_of(status: int) -> Result:
    if 200 <= status < 300:
        return "sent"
    return "failed" if 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY else "tried"


def _explain(action: Action, url: URL, status: int) -> str:
    said = f"{url.host} answered {status}"
    if 300 <= status < 400:
        return f"{said}. No redirect is followed: set the URL of the rule {action.rule} to where it leads."
    return f"{said}." if _result_of(status) == "tried" else f"{said}, as it would to any repetition."
