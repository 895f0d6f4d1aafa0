"""Verbex's list of calls: one page read call by call, and the moment when reading on makes no sense.

The shape of a page, and the limits of a list, belong here. See `connector.verbex.client` for the requests. A
page is never decoded as a whole, so that one odd value costs only its own call, and every number keeps its
digits.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from connector.verbex.answer import Answer, ApiUnavailableError, Fields, fields_of
from connector.verbex.credentials import drop_credentials

MOST_PAGES = 10_000
"""The limit for one list. With the largest pages, that is ten million calls."""
MOST_IDLE_PAGES = 100
"""The limit for pages in a row without any call that was not listed before."""

_CALLS = msgspec.json.Decoder(list[msgspec.Raw])


class IncompleteListError(ApiUnavailableError):
    """A list that does not end, or that ends before all its calls. The pages before are valid."""


class ListedCall(NamedTuple):
    """One call as listed. `started_at` is UTC. `body` is its JSON without credentials, if it is readable."""

    call_id: str
    agent_id: str | None
    started_at: datetime | None
    body: bytes | None


class Page(NamedTuple):
    """One page: its calls, the token of the next page (empty for none), and how many calls the list has."""

    calls: list[ListedCall]
    next_token: str
    total_count: int | None


@dataclass
class Listing:
    """The pages of one list that were read so far."""

    pages: int = 0
    idle_pages: int = 0
    total_count: int | None = None
    call_ids: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    def add(self, page: Page) -> None:
        """Count a page.

        Raises:
            IncompleteListError: It is the last one and calls are missing, or the list does not end.
        """
        before = len(self.call_ids)
        self.call_ids.update(call.call_id for call in page.calls)
        self.pages += 1
        self.idle_pages = 0 if len(self.call_ids) > before else self.idle_pages + 1
        if page.total_count is not None:  # the least of all pages, because calls are added meanwhile
            known = page.total_count if self.total_count is None else self.total_count
            self.total_count = min(page.total_count, known)
        if not page.next_token:
            self._check_count()
        elif page.next_token in self.tokens:
            raise _incomplete("gave the same page token twice")
        elif self.idle_pages >= MOST_IDLE_PAGES:
            raise _incomplete(f"gave {self.idle_pages} pages without a new call")
        elif self.pages >= MOST_PAGES:
            raise _incomplete(f"did not end after {self.pages:,} pages")
        self.tokens.add(page.next_token)

    def _check_count(self) -> None:
        if self.total_count is not None and len(self.call_ids) < self.total_count:
            raise _incomplete(f"listed {len(self.call_ids):,} calls, but counts {self.total_count:,}")


def read_page(answer: Answer) -> Page:
    """Read one page, wrapped in `data` or bare.

    Raises:
        ApiUnavailableError: It is no list of calls.
    """
    page, raws = answer.fields, _calls_in(answer.fields)
    if raws is None:
        page = fields_of(answer.fields.get("data", b"null"))
        raws = _calls_in(page)
    if raws is None:
        raise ApiUnavailableError("GET /v1/calls/ got JSON without a list of calls. Try again later.")
    calls = [call for call in map(_read_call, raws) if call is not None]
    if raws and not calls:
        # Otherwise the day would count as read to its end and without calls.
        raise ApiUnavailableError("GET /v1/calls/ got a list of objects without an `_id`. Try again later.")
    # Token and count may be outside the wrapper.
    token = _value(page, "next_page_token") or _value(answer.fields, "next_page_token") or ""
    counts = [_count_of(_value(fields, "total_count")) for fields in (page, answer.fields)]
    return Page(calls, str(token), max((count for count in counts if count is not None), default=None))


def _calls_in(page: Fields) -> list[msgspec.Raw] | None:
    try:
        return _CALLS.decode(page["calls"])
    except (KeyError, msgspec.DecodeError):
        return None


def _read_call(raw: msgspec.Raw) -> ListedCall | None:
    fields = fields_of(raw)
    call_id, agent_id = _value(fields, "_id"), _value(fields, "ai_agent_id")
    if not call_id:
        return None
    try:
        body = drop_credentials(bytes(raw))
    except (ValueError, RecursionError):
        body = None
    started_at = _time_of(_value(fields, "call_start_time"))
    return ListedCall(str(call_id), str(agent_id) if agent_id else None, started_at, body)


def _value(fields: Fields, name: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(fields.get(name, b"null"))
    except (msgspec.DecodeError, RecursionError):
        return None


def _count_of(written: object) -> int | None:
    """Return a count, also one that is written as a fraction or as a text; None for anything else."""
    try:
        return None if isinstance(written, bool) else int(float(str(written)))
    except (ValueError, OverflowError):
        return None


def _time_of(written: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(written))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _incomplete(what: str) -> IncompleteListError:
    return IncompleteListError(
        f"GET /v1/calls/ {what}, so this list of calls is incomplete. What it listed is kept. Try again"
        " later."
    )
