"""A running `verbex-sync live`, events that happen now, and what a page is sent."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.data_folder import DataFolder, body
from support.deadline import HANG_S
from support.serving import serving

_BODIES_BEGIN_S = 1_762_600_000


@contextmanager
def running_live(folder: Path, *words: str, port: int = 0, **settings: str) -> Iterator[str]:
    """Serve the live page of `folder`/data and return its address. It must end without a word."""
    with serving(folder, "live", "--port", str(port), *words, **settings) as url:
        yield url
    assert (folder / "live.log").read_text() == ""


def ago(seconds: float) -> float:
    """Return the time of an event that happened some seconds ago, as `body` takes it."""
    return time.time() - seconds - _BODIES_BEGIN_S


def land_now(folder: DataFolder, *events: tuple[str, str, float], **payload: Any) -> None:  # noqa: ANN401
    """Land events, each by its name, call, and how many seconds ago it happened; and publish them."""
    bodies = [body(f"{call_id} {name}", name, call_id, ago(s), **payload) for name, call_id, s in events]
    folder.land(bodies, received_at_us=[time.time_ns() // 1000 - 100_000] * len(bodies))
    folder.sync()


async def messages(session: aiohttp.ClientSession, url: str) -> AsyncIterator[dict[str, Any]]:
    """Yield what a page is sent."""
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=HANG_S)) as answer:
        assert answer.content_type == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))
