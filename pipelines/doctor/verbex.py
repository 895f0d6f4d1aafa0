"""Verbex's end: whether its API accepts our key, what its clock says, and how long its certificate is valid.

How it is asked does not belong here: see `connector.verbex.client`.
"""

import random
from collections.abc import Iterator
from datetime import datetime

from connector.settings import Settings
from connector.system.loop import run
from connector.verbex.answer import VerbexError
from connector.verbex.client import VerbexClient
from connector.verbex.seen import Seen
from pipelines.doctor.certificate import describe_end
from pipelines.doctor.finding import Finding

_LARGE_SKEW_S = 30.0


def look_at_verbex(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield what one request found.

    Raises:
        UnsafeUrlError: `VERBEX_API_URL` would show the key to the network.
    """
    if settings.api_key is None:
        found = "VERBEX_API_KEY is not set, so no analysis is fetched and nothing is compared."
        yield Finding("note", "Verbex's API", found)
        return
    try:
        seen = run(_look(settings))
    except VerbexError as error:
        yield Finding("problem", "Verbex's API", str(error))
        return
    yield Finding("ok", "Verbex's API", f"{settings.api_url} accepts the key ({seen.took_s:.1f} s)")
    if seen.certificate_ends_at:
        yield describe_end("Verbex's certificate", seen.certificate_ends_at, now, "Verbex has to renew it.")
    if seen.skew_s is not None:
        yield _describe_skew(seen.skew_s)


async def _look(settings: Settings) -> Seen:
    async with VerbexClient.from_settings(settings, random.Random()) as client:  # noqa: S311 - for waits
        return await client.look()


def _describe_skew(skew_s: float) -> Finding:
    if abs(skew_s) <= _LARGE_SKEW_S:
        return Finding("ok", "clock", f"Within {_LARGE_SKEW_S:.0f} s of Verbex's")
    side = "behind" if skew_s > 0 else "ahead of"
    found = f"This machine is {abs(skew_s):.0f} s {side} Verbex. Let it follow a time server, such as chrony."
    return Finding("problem", "clock", found)
