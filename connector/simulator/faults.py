"""Faults between us and a REST API, injected at seeded rates.

The kinds of fault, and the bytes that each one sends, belong here. See `connector.simulator.api` for the
right answers.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from connector.simulator.chance import rng_for


@dataclass(frozen=True)
class Faults:
    """Rates from 0 to 1 for each kind of fault; their sum is at most 1."""

    too_many: float = 0.0
    """429 with `Retry-After`."""
    server_error: float = 0.0
    """500 with a JSON error."""
    reset: float = 0.0
    """The connection breaks before any answer."""
    cut: float = 0.0
    """The connection breaks in the middle of the body."""
    truncated: float = 0.0
    """200 with half of the JSON."""
    html: float = 0.0
    """200 with a proxy's HTML page."""
    error_in_200: float = 0.0
    """200 whose JSON reports an error."""
    slow: float = 0.0
    """The right answer, `slow_s` late."""
    unheard: float = 0.0
    """The connection breaks before anything is done."""
    late: float = 0.0
    """The connection breaks, and a call that was dialled is known only `late_s` later."""
    dropped: float = 0.0
    """The request is handled, and then the connection breaks before the answer."""

    seed: int = 0
    retry_after_s: int = 1
    is_retry_after_date: bool = False
    slow_s: float = 5.0
    late_s: float = 5.0

    @classmethod
    def evenly(cls, rate: float, *, seed: int = 0) -> "Faults":
        """Return faults of all kinds that any request can have, except `slow`, which add up to `rate`."""
        harmful = [kind for kind in _KINDS if kind not in ("slow", "unheard", "late", "dropped")]
        return cls(seed=seed, **dict.fromkeys(harmful, rate / len(harmful)))  # type: ignore[arg-type]

    def draw(self, path: str, nth: int) -> str | None:
        """Return the fault of the `nth` request of `path`, or None. It does not depend on other requests."""
        chance = rng_for(self.seed, path, nth).random()
        for kind in _KINDS:
            chance -= getattr(self, kind)
            if chance < 0:
                return kind
        return None


BEFORE_ALL = ("too_many", "unheard")
"""The faults after which nothing was done."""
_KINDS = (
    *("too_many", "server_error", "reset", "cut", "truncated", "html", "error_in_200", "slow"),
    *("unheard", "late", "dropped"),
)


async def break_answer(
    kind: str, faults: Faults, request: web.Request, right: web.Response
) -> web.StreamResponse:
    """Answer `request` with the fault `kind`, in place of the `right` answer or made from it."""
    match kind:
        case "too_many":
            headers = {"Retry-After": _retry_after(faults)}
            return web.json_response({"detail": "Too many requests"}, status=429, headers=headers)
        case "server_error":
            return web.json_response({"detail": "Internal server error"}, status=500)
        case "html":
            return web.Response(text="<html><body><h1>Gateway</h1></body></html>", content_type="text/html")
        case "error_in_200":
            return web.json_response({"status": 500, "message": "Internal error", "data": None})
        case "truncated":
            return web.Response(body=_half(right), content_type="application/json")
        case "slow":
            await asyncio.sleep(faults.slow_s)
            return right
        case "cut":
            return await _cut(request, right)
        case _:
            return _abort(request)


def _retry_after(faults: Faults) -> str:
    if faults.is_retry_after_date:
        # An HTTP date has whole seconds, so round up: the wait must not be shorter than asked for.
        moment = datetime.now(UTC) + timedelta(seconds=faults.retry_after_s + 1)
        return format_datetime(moment.replace(microsecond=0), usegmt=True)
    return str(faults.retry_after_s)


def _half(right: web.Response) -> bytes:
    assert isinstance(right.body, bytes)  # noqa: S101 - the simulator answers with bytes only
    return right.body[: len(right.body) // 2]


async def _cut(request: web.Request, right: web.Response) -> web.StreamResponse:
    assert isinstance(right.body, bytes)  # noqa: S101 - the simulator answers with bytes only
    promised = web.StreamResponse(headers={"Content-Type": "application/json"})
    promised.content_length = len(right.body)
    await promised.prepare(request)
    await promised.write(_half(right))
    _abort(request)
    return promised


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
