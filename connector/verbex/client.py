"""A client for Verbex's REST API: asks politely, asks again when that can help, and says what went wrong.

Requests, their repetition and their pace belong here. What an answer means is in `connector.verbex.answer`;
what becomes of it is for the callers. `Authorization: Bearer <key>`, the paths and the query names are
Verbex's documentation; rate limits are not documented, so the defaults in `connector.settings` are modest.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs
from yarl import URL

from connector.settings import Settings
from connector.verbex.answer import (
    Answer,
    AnswerTooLargeError,
    ApiUnavailableError,
    NotAuthorizedError,
    RequestRefusedError,
    read_answer,
    read_call,
    read_pca,
    unwrap,
)
from connector.verbex.credentials import drop_credentials
from connector.verbex.pace import Pace, backoff_s, retry_after_s

TRIES = 4
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
LONGEST_HOLD_S = 60.0
"""A longer `Retry-After` is not waited for: the request fails, and says how long the wait is."""
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
MAX_PAGE_SIZE = 1000
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Of one call or analysis, decompressed: hours of talk fit into a tenth."""
MAX_PAGE_BYTES = 64 * 1024 * 1024
"""Of one page of calls, of which only one is in flight."""
_PLAIN_ID = re.compile(r"[\w-]+", re.ASCII)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class VerbexClient:
    """The REST API of one Verbex organization; open it with `async with`.

    No more than `concurrency` requests are in flight, over as many kept connections, and no more than
    `rate_per_s` are sent a second, repetitions included. A `Retry-After` holds every request back.

    Every method raises `NotAuthorizedError`, `RequestRefusedError`, `AnswerTooLargeError` or, after `TRIES`
    tries, `ApiUnavailableError`. No answer holds a credential, but those of `send`.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        rate_per_s: float,
        concurrency: int,
        rng: random.Random,
        clock: Clock = utc_now,
    ) -> None:
        self._url = url.rstrip("/")
        self._concurrency = concurrency
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._rng = rng
        self._clock = clock
        self._pace = Pace(rate_per_s)
        self._room = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession

    @classmethod
    def from_settings(cls, settings: Settings, rng: random.Random, clock: Clock = utc_now) -> Self:
        """A client for the API that the settings name.

        Raises:
            NotAuthorizedError: `VERBEX_API_KEY` is not set.
        """
        return cls(
            settings.api_url,
            api_key_of(settings),
            rate_per_s=settings.api_rps,
            concurrency=settings.api_concurrency,
            rng=rng,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency), headers=self._headers, timeout=TIMEOUT
        )
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await self._pace.wait_out_hold()  # of which whoever asks next would not know
        finally:
            await self._session.close()

    async def get_pca(self, agent_id: str, call_id: str) -> Answer:
        """The post-call analysis of one call; without a body if there is none (yet)."""
        path = f"/v2/ai-agents/{_segment(agent_id)}/postcall-analysis/results/{_segment(call_id)}"
        return read_pca(await self._get(path))

    async def get_pca_configuration(self, agent_id: str) -> Answer:
        """The PCA items that an agent is configured with; without a body if there are none (yet)."""
        return read_pca(await self._get(f"/v2/ai-agents/{_segment(agent_id)}/postcall-analysis"))

    async def get_call(self, call_id: str) -> Answer:
        """One call with its transcript; without a body if it is unknown (yet)."""
        path = f"/v1/calls/{_segment(call_id)}"
        return read_call(f"GET {path}", await self._get(path))

    async def list_calls(
        self, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of the calls that `query` asks for, each a list of calls.

        Args:
            query: Parameters as Verbex names them, for example `start_time_after`.
        """
        wanted: dict[str, str | Sequence[str]] = {"page_size": str(MAX_PAGE_SIZE), **(query or {})}
        seen = set()
        while True:
            page = await self._get("/v1/calls/", wanted, most_bytes=MAX_PAGE_BYTES)
            calls, token = _read_page(page.value)
            yield calls
            if not token:
                return
            if token in seen:
                raise ApiUnavailableError("GET /v1/calls/ goes in circles: a page token came twice.")
            seen.add(token)
            wanted["page_token"] = token

    async def send(self, method: str, path: str, value: object = None) -> Answer:
        """Any other request, its JSON answer as it is, credentials included; a POST is never repeated."""
        return await self._ask(method, path, json=value, tries=1 if method == "POST" else TRIES)

    async def _get(
        self,
        path: str,
        query: Mapping[str, str | Sequence[str]] | None = None,
        *,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        answer = await self._ask("GET", path, query=query, most_bytes=most_bytes)
        if answer.body is None:
            return answer
        try:
            body = drop_credentials(answer.body)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise ApiUnavailableError(
                f"GET {path} got JSON that can't be searched for credentials, and so can't be stored.",
                http_status=answer.http_status,
            ) from error
        return answer if body is answer.body else read_answer(f"GET {path}", answer.http_status, body)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        json: object = None,
        tries: int = TRIES,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        url = URL(self._url + path, encoded=True)
        if query is not None:
            url = url.with_query(query)
        for attempt in range(1, tries + 1):
            try:
                # Room first, a turn second: whoever has a turn sends at once, or a hold could not stop it.
                async with self._room:
                    await self._pace.take_turn()
                    return await self._ask_once(method, path, url, json, most_bytes)
            except ApiUnavailableError as error:
                wait_s = error.retry_after_s or 0.0
                if wait_s <= LONGEST_HOLD_S:
                    self._pace.hold(wait_s)
                if attempt == tries or wait_s > LONGEST_HOLD_S:
                    raise
            await asyncio.sleep(self._backoff_s(attempt))
        raise AssertionError("unreachable")  # pragma: no cover

    async def _ask_once(self, method: str, path: str, url: URL, json: object, most_bytes: int) -> Answer:
        asked = f"{method} {path}"
        try:
            async with self._session.request(method, url, json=json, allow_redirects=False) as response:
                body = await _read_body(asked, response, most_bytes)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ApiUnavailableError(
                f"{asked} got no answer from {url.host}: {type(error).__name__}; it is asked again later."
            ) from error
        told = response.headers.get("Retry-After")
        wait_s = None if told is None else retry_after_s(told, self._clock())
        return read_answer(asked, response.status, body, retry_after_s=wait_s)

    def _backoff_s(self, attempt: int) -> float:
        return backoff_s(attempt, self._rng, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)


def api_key_of(settings: Settings) -> str:
    """The key to ask with.

    Raises:
        NotAuthorizedError: `VERBEX_API_KEY` is not set.
    """
    if settings.api_key is None:
        raise NotAuthorizedError(
            "There is no key for the Verbex API. Set VERBEX_API_KEY in the environment or in .env."
        )
    return settings.api_key.get_secret_value()


async def _read_body(asked: str, response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The body, decompressed; `response.read()` would take in whatever comes, for as long as it comes."""
    length = response.content_length
    # An encoded body may become longer than it says, so it is counted as it comes.
    is_encoded = hdrs.CONTENT_ENCODING in response.headers or hdrs.TRANSFER_ENCODING in response.headers
    if length is not None and length <= most_bytes and not is_encoded:
        return await response.read()
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise AnswerTooLargeError(
                f"{asked} got an answer of more than {most_bytes:,} bytes, and was not read on. See whether"
                " VERBEX_API_URL is Verbex's.",
                http_status=response.status,
            )
    return b"".join(chunks)


def _read_page(told: Any) -> tuple[list[dict[str, Any]], str]:  # noqa: ANN401 - any JSON
    """The calls of one page and the token of the next, which is empty if there is none."""
    shown = unwrap(told)
    if not isinstance(shown, dict) or not isinstance(shown.get("calls"), list):
        raise ApiUnavailableError("GET /v1/calls/ got JSON without a list of calls; ask again later.")
    calls = [call for call in shown["calls"] if isinstance(call, dict) and call.get("_id")]
    if shown["calls"] and not calls:
        # Else a day would pass for read to its end, and for one without calls.
        raise ApiUnavailableError("GET /v1/calls/ got a list of things without an `_id`; ask again later.")
    # A wrapper may hold the calls alone.
    return calls, str(shown.get("next_page_token") or told.get("next_page_token") or "")


def _segment(name: str) -> str:
    """An id as one segment of a path, whatever it holds: ids come from outside."""
    quoted = name if _PLAIN_ID.fullmatch(name) else quote(name, safe="")
    if quoted.strip(".") == "":
        raise RequestRefusedError(f"{name!r} can't be the id of anything, so nothing was asked.")
    return quoted
