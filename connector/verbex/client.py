"""A client for Verbex's REST API: the paths, the queries, and answers without credentials.

The list of requests belongs here. See `connector.verbex.transport` for how a request is sent and repeated,
and `connector.verbex.answer` for the meaning of an answer. The callers decide what to do with it. The paths
and the query names are from Verbex's documentation.
"""

import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self
from urllib.parse import quote

from connector.settings import Settings
from connector.verbex.answer import (
    Answer,
    ApiUnavailableError,
    NotAuthorizedError,
    RequestRefusedError,
    read_answer,
    read_call,
    read_pca,
    unwrap,
)
from connector.verbex.credentials import drop_credentials
from connector.verbex.transport import MAX_ANSWER_BYTES, TRIES, Clock, Query, Transport, utc_now

MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 64 * 1024 * 1024
"""The limit for one page of calls. Only one page is in flight at a time."""
_PLAIN_ID = re.compile(r"[\w-]+", re.ASCII)


class VerbexClient:
    """The REST API of one Verbex organization. Open it with `async with`.

    Every method raises `NotAuthorizedError`, `RequestRefusedError`, `AnswerTooLargeError` or, after several
    tries, `ApiUnavailableError`. Answers hold no credentials, except those of `send`.
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
        self._transport = Transport(
            url, api_key, rate_per_s=rate_per_s, concurrency=concurrency, rng=rng, clock=clock
        )

    @classmethod
    def from_settings(cls, settings: Settings, rng: random.Random, clock: Clock = utc_now) -> Self:
        """Return a client for the API that the settings name.

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
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        await self._transport.__aexit__(kind)

    async def get_pca(self, agent_id: str, call_id: str) -> Answer:
        """Return the post-call analysis of one call, without a body if there is none (yet)."""
        path = f"/v2/ai-agents/{_segment(agent_id)}/postcall-analysis/results/{_segment(call_id)}"
        return read_pca(await self._get(path))

    async def get_pca_configuration(self, agent_id: str) -> Answer:
        """Return the PCA items that an agent is configured with, without a body if there are none (yet)."""
        return read_pca(await self._get(f"/v2/ai-agents/{_segment(agent_id)}/postcall-analysis"))

    async def get_call(self, call_id: str) -> Answer:
        """Return one call with its transcript, without a body if it is unknown (yet)."""
        path = f"/v1/calls/{_segment(call_id)}"
        return read_call(f"GET {path}", await self._get(path))

    async def list_calls(self, query: Query | None = None) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the pages of the calls that `query` asks for, each a list of calls.

        Args:
            query: The parameters as Verbex names them, for example `start_time_after`.
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
                raise ApiUnavailableError("GET /v1/calls/ gave the same page token twice. Ask again later.")
            seen.add(token)
            wanted["page_token"] = token

    async def send(self, method: str, path: str, value: object = None) -> Answer:
        """Send any other request and return its JSON answer with credentials. A POST is never repeated."""
        return await self._transport.ask(method, path, json=value, tries=1 if method == "POST" else TRIES)

    async def _get(
        self, path: str, query: Query | None = None, *, most_bytes: int = MAX_ANSWER_BYTES
    ) -> Answer:
        answer = await self._transport.ask("GET", path, query=query, most_bytes=most_bytes)
        if answer.body is None:
            return answer
        try:
            body = drop_credentials(answer.body)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise ApiUnavailableError(
                f"GET {path} got JSON that can't be searched for credentials, so it is not stored."
                " It is asked again later.",
                http_status=answer.http_status,
            ) from error
        return answer if body is answer.body else read_answer(f"GET {path}", answer.http_status, body)


def api_key_of(settings: Settings) -> str:
    """Return the API key.

    Raises:
        NotAuthorizedError: `VERBEX_API_KEY` is not set.
    """
    if settings.api_key is None:
        raise NotAuthorizedError(
            "There is no key for the Verbex API. Set VERBEX_API_KEY in the environment or in .env."
        )
    return settings.api_key.get_secret_value()


def _read_page(answer: Any) -> tuple[list[dict[str, Any]], str]:  # noqa: ANN401 - any JSON
    """Return the calls of one page and the token of the next page, which is empty if there is none."""
    page = unwrap(answer)
    if not isinstance(page, dict) or not isinstance(page.get("calls"), list):
        raise ApiUnavailableError("GET /v1/calls/ got JSON without a list of calls. Ask again later.")
    calls = [call for call in page["calls"] if isinstance(call, dict) and call.get("_id")]
    if page["calls"] and not calls:
        # Otherwise the day would count as read to its end and without calls.
        raise ApiUnavailableError("GET /v1/calls/ got a list of objects without an `_id`. Ask again later.")
    # The token may be outside the wrapper.
    return calls, str(page.get("next_page_token") or answer.get("next_page_token") or "")


def _segment(name: str) -> str:
    """Return an id as one segment of a path. Ids come from outside, so they can hold any character."""
    quoted = name if _PLAIN_ID.fullmatch(name) else quote(name, safe="")
    if quoted.strip(".") == "":
        raise RequestRefusedError(f"{name!r} is not a valid id, so no request was sent. Check the id.")
    return quoted
