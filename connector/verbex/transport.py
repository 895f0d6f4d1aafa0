"""One request to Verbex's REST API: paced, repeated if that can help, and read within limits.

Tries, waits and limits on size belong here. See `connector.verbex.client` for the paths and queries, and
`connector.verbex.answer` for the meaning of an answer. Verbex documents that a key is sent as
`Authorization: Bearer <key>`. It does not document rate limits, so the defaults in `connector.settings` are
low.
"""

import asyncio
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from connector.errors import EXIT_USAGE, OperatorError
from connector.system.hosts import is_loopback
from connector.system.proxies import proxy_for
from connector.verbex.answer import Answer, AnswerTooLargeError, ApiUnavailableError, read_answer
from connector.verbex.credentials import cut_secrets, secret_forms
from connector.verbex.pace import Pace, backoff_s, longest_wait_s

TRIES = 4
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
LONGEST_HOLD_S = 60.0
"""The longest `Retry-After` that we wait for. With a longer one, the request fails and reports the wait."""
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
MAX_HEADER_BYTES = 64 * 1024
"""The limit for one header of an answer. Proxies add long ones, and none of them is stored."""
MAX_HEADERS = 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""The limit for one call or analysis, decompressed. Hours of talk need less than a tenth of it."""

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""What fails while a connection is made, TLS and a proxy's consent included, and so before any request."""

Clock = Callable[[], datetime]
Query = Mapping[str, str | Sequence[str]]


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class UnsafeUrlError(OperatorError):
    """An address of the API to which the key would travel readable for everyone on the way."""

    exit_code = EXIT_USAGE


class Transport:
    """The sending of requests to one API with one key. Open it with `async with`.

    At most `concurrency` requests are in flight, over as many open connections, and at most `rate_per_s` are
    sent per second, repetitions included. A `Retry-After` delays every request.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        rate_per_s: float,
        concurrency: int,
        rng: random.Random,
        clock: Clock,
        secrets: Sequence[str] = (),
    ) -> None:
        _check_url(url)
        self._url = url.rstrip("/")
        self._secrets = secret_forms(secrets)
        self._concurrency = concurrency
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._rng = rng
        self._clock = clock
        self._pace = Pace(rate_per_s)
        self._room = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession
        self.on_response: Callable[[aiohttp.ClientResponse], None] = lambda _: None
        """Called with every answer before its body is read."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            headers=self._headers,
            timeout=TIMEOUT,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            # Not `trust_env`, which would also look for another key in ~/.netrc.
            proxy=proxy_for(URL(self._url)),
        )
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await self._pace.wait_out_hold()  # the next client would not know of the hold
        finally:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        tries: int = TRIES,
        most_bytes: int = MAX_ANSWER_BYTES,
        has_secrets: bool = False,
    ) -> Answer:
        """Send a request, up to `tries` times while the API or the network fails. `body` is JSON.

        Known secrets are cut out of the answer, unless `has_secrets` says that it is asked for one.

        Raises:
            NotAuthorizedError: The key is not accepted.
            RequestRefusedError: Asking again would not change the answer.
            AnswerTooLargeError: The answer is larger than `most_bytes`.
            ApiUnavailableError: Every try failed, or the API asks for a long wait.
        """
        url = URL(self._url + path, encoded=True)
        if query is not None:
            url = url.with_query(query)
        for attempt in range(1, tries + 1):
            try:
                # First room, then a turn: if a request waited after its turn, a hold could not stop it.
                async with self._room:
                    await self._pace.take_turn()
                    return await self._ask_once(method, path, url, body, most_bytes, has_secrets=has_secrets)
            except ApiUnavailableError as error:
                wait_s = error.retry_after_s or 0.0
                if wait_s <= LONGEST_HOLD_S:
                    self._pace.hold(wait_s)
                if attempt == tries or wait_s > LONGEST_HOLD_S:
                    raise
            await asyncio.sleep(
                backoff_s(attempt, self._rng, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)
            )
        raise AssertionError("unreachable")  # pragma: no cover

    async def _ask_once(
        self, method: str, path: str, url: URL, body: bytes | None, most_bytes: int, *, has_secrets: bool
    ) -> Answer:
        asked = f"{method} {path}"
        headers = {} if body is None else {hdrs.CONTENT_TYPE: "application/json"}
        sending = self._session.request(method, url, data=body, headers=headers, allow_redirects=False)
        try:
            async with sending as response:
                self.on_response(response)
                received = await _read_body(asked, response, most_bytes)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, zlib.error) as error:
            raise ApiUnavailableError(
                f"{asked} got no answer from {url.host} ({type(error).__name__}). Try again later.",
                was_sent=not isinstance(error, _NOT_SENT),
            ) from error
        if not has_secrets:
            received = cut_secrets(received, self._secrets)
        wait_s = longest_wait_s(response.headers, self._clock())
        return read_answer(asked, response.status, received, retry_after_s=wait_s)


async def _read_body(asked: str, response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Return the body, decompressed. `response.read()` alone would accept a body of any size."""
    length = response.content_length
    # An encoded body may be longer than its declared length, so its bytes are counted as they arrive.
    is_encoded = hdrs.CONTENT_ENCODING in response.headers or hdrs.TRANSFER_ENCODING in response.headers
    if length is not None and length <= most_bytes and not is_encoded:
        return await response.read()
    # aiohttp does not know this older name of gzip.
    is_older_gzip = response.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() == "x-gzip"
    inflate = zlib.decompressobj(wbits=31).decompress if is_older_gzip else None
    chunks: list[bytes] = []
    size_bytes = 0
    async for received in response.content.iter_any():
        chunk = received if inflate is None else inflate(received, most_bytes + 1 - size_bytes)
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise AnswerTooLargeError(
                f"{asked} got an answer of more than {most_bytes:,} bytes. The rest was not read. Check that"
                " VERBEX_API_URL is Verbex's API.",
                http_status=response.status,
            )
    return b"".join(chunks)


def _check_url(url: str) -> None:
    """Raise an error if the key would leave this machine unencrypted.

    Raises:
        UnsafeUrlError: It is `http://` with another host than this machine.
    """
    parts = URL(url)
    host = parts.host or ""
    if parts.scheme != "https" and not (is_loopback(host) or host.endswith(".localhost")):
        raise UnsafeUrlError(
            f"VERBEX_API_URL is {url}, which would send VERBEX_API_KEY unencrypted. Set it to an https://"
            " URL. http:// is only for this machine, as in http://127.0.0.1:8081."
        )
