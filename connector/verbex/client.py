"""A client for Verbex's REST API: the paths, the queries, and answers without credentials.

The list of requests belongs here. See `connector.verbex.transport` for how a request is sent and repeated,
and `connector.verbex.answer` for the meaning of an answer. The callers decide what to do with it. The paths
and the query names are from Verbex's documentation.
"""

import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Self
from urllib.parse import quote

import aiohttp
import msgspec

from connector.known_secrets import known_secrets
from connector.settings import Settings
from connector.verbex.answer import (
    Answer,
    ApiUnavailableError,
    NotAuthorizedError,
    RequestRefusedError,
    fields_of,
    read_call,
    read_dialled,
    read_pca,
)
from connector.verbex.credentials import drop_credentials
from connector.verbex.listed import ListedCall, Listing, read_page
from connector.verbex.seen import Seen, read_seen
from connector.verbex.transport import TRIES, Clock, Query, Transport, utc_now

DIAL_PATH = "/v1/calls/dial-outbound-phone-call"
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 64 * 1024 * 1024
"""The limit for one page of calls. Only one page is in flight at a time."""
_PLAIN_ID = re.compile(r"[\w-]+", re.ASCII)


class VerbexClient:
    """The REST API of one Verbex organization. Open it with `async with`.

    `secrets` are texts besides the key that no answer may bring into landing, should the API repeat them.

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
        secrets: Sequence[str] = (),
    ) -> None:
        self._clock = clock
        self._transport = Transport(
            url,
            api_key,
            rate_per_s=rate_per_s,
            concurrency=concurrency,
            rng=rng,
            clock=clock,
            secrets=(api_key, *secrets),
        )

    @classmethod
    def from_settings(cls, settings: Settings, rng: random.Random, clock: Clock = utc_now) -> Self:
        """Return a client for the API that the settings name.

        Raises:
            NotAuthorizedError: `VERBEX_API_KEY` is not set.
            UnsafeUrlError: `VERBEX_API_URL` would show the key to the network.
        """
        return cls(
            settings.api_url,
            api_key_of(settings),
            rate_per_s=settings.api_rps,
            concurrency=settings.api_concurrency,
            rng=rng,
            clock=clock,
            secrets=known_secrets(settings),
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

    async def get_call(self, call_id: str, *, tries: int = TRIES) -> Answer:
        """Return one call with its transcript, without a body if it is unknown (yet)."""
        path = f"/v1/calls/{_segment(call_id)}"
        return read_call(f"GET {path}", await self._get(path, tries))

    async def dial(self, body: bytes) -> Answer:
        """Ask for one outbound call with this JSON, and return it as Verbex made it, without credentials.

        One request is sent and never a second. If that fails, `was_sent` and `http_status` of the error say
        whether a phone may ring nevertheless.
        """
        answer = await self._transport.ask("POST", DIAL_PATH, body=body, tries=1)
        return read_dialled(f"POST {DIAL_PATH}", _without_credentials(f"POST {DIAL_PATH}", answer))

    async def list_calls(self, query: Query | None = None) -> AsyncIterator[list[ListedCall]]:
        """Yield the pages of the calls that `query` asks for, each a list of calls.

        Args:
            query: The parameters as Verbex names them, for example `start_time_after`.

        Raises:
            IncompleteListError: The list does not end, or lacks calls. All its pages were given before.
        """
        wanted: dict[str, str | Sequence[str]] = {"page_size": str(MAX_PAGE_SIZE), **(query or {})}
        listing = Listing()
        while True:
            page = read_page(
                await self._transport.ask("GET", "/v1/calls/", query=wanted, most_bytes=MAX_PAGE_BYTES)
            )
            yield page.calls
            listing.add(page)
            if not page.next_token:
                return
            wanted["page_token"] = page.next_token

    async def look(self) -> Seen:
        """Ask for one call, once, and return what the answer shows besides it."""
        seen: list[Seen] = []
        began_at = self._clock()

        def note(response: aiohttp.ClientResponse) -> None:
            now = self._clock()
            seen.append(read_seen(response, now, (now - began_at).total_seconds()))

        self._transport.on_response = note
        await self._transport.ask("GET", "/v1/calls/", query={"page_size": "1"}, tries=1)
        return seen[-1]

    async def send(self, method: str, path: str, value: object = None) -> Answer:
        """Send any other request and return its JSON answer with credentials. A POST is never repeated."""
        tries = 1 if method == "POST" else TRIES
        body = None if value is None else msgspec.json.encode(value)
        return await self._transport.ask(method, path, body=body, tries=tries, has_secrets=True)

    async def _get(self, path: str, tries: int = TRIES) -> Answer:
        return _without_credentials(f"GET {path}", await self._transport.ask("GET", path, tries=tries))


def api_key_of(settings: Settings) -> str:
    """Return the API key.

    Raises:
        NotAuthorizedError: `VERBEX_API_KEY` is not set.
    """
    if settings.api_key is None:
        raise NotAuthorizedError(
            "There is no key for the Verbex API. Set VERBEX_API_KEY in the environment or in .env.",
            was_sent=False,
        )
    return settings.api_key.get_secret_value()


def _without_credentials(asked: str, answer: Answer) -> Answer:
    if answer.body is None:
        return answer
    try:
        body = drop_credentials(answer.body)
    except (ValueError, RecursionError) as error:
        raise ApiUnavailableError(
            f"{asked} got JSON that can't be searched for credentials, so it is not stored. Try again later.",
            http_status=answer.http_status,
        ) from error
    return answer if body is answer.body else replace(answer, body=body, fields=fields_of(body))


def _segment(name: str) -> str:
    """Return an id as one segment of a path. Ids come from outside, so they can hold any character."""
    quoted = name if _PLAIN_ID.fullmatch(name) else quote(name, safe="")
    if quoted.strip(".") == "":
        raise RequestRefusedError(
            f"{name!r} is not a valid id, so no request was sent. Check the id.", was_sent=False
        )
    return quoted
