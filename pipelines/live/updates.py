"""What open pages are told: the parts of each view that changed, made once however many pages show it.

When parts are made again belongs here, and which of them a page lacks. What is in them does not: see
`pipelines.live.board`. How they travel does not either: see `pipelines.live.server`.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipelines.live.published import Published, Version

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05
MAKE_EVERY_S = 5.0
"""Parts change with time too: calls become long, days end, disks fill."""
_KEEP_S = 60.0
_FRESH_S = 1.0
_MOST_UNUSED = 50

Make = Callable[[], Mapping[str, str]]


@dataclass
class Board:
    """One view that some pages show: its parts, and which of them changed at which version."""

    make: Make
    parts: dict[str, str] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    number: int = 0
    pages: int = 0
    made_at_s: float = float("-inf")
    used_at_s: float = float("-inf")
    made_of: Version | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    _messages: dict[int, str] = field(default_factory=dict)

    def take(self, parts: Mapping[str, str]) -> None:
        """Keep new parts, and wake the pages if any of them differs."""
        new = {name for name, html in parts.items() if self.parts.get(name) != html}
        if new:
            self.number += 1
            self.parts = dict(parts)
            self.changed |= dict.fromkeys(new, self.number)
            self._messages.clear()
            self.news.set()
            self.news = asyncio.Event()

    def message(self, have: int, boot: str) -> str | None:
        """Return what a page lacks that has everything up to the version `have`; None if that is nothing."""
        if have >= self.number:
            return None
        if have not in self._messages:
            parts = {name: html for name, html in self.parts.items() if self.changed[name] > have}
            self._messages[have] = json.dumps({"version": f"{boot}-{self.number}", "parts": parts})
        return self._messages[have]


class Updates:
    """Every view that is open. One task makes them again, so that they are never made twice at a time."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._boards: dict[Hashable, Board] = {}
        self._boot = secrets.token_hex(4)

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return sum(board.pages for board in self._boards.values())

    async def board(self, view: Hashable, make: Make) -> Board:
        """Return a view with its parts. `make` makes them, in the reader's thread."""
        board = self._find(view, make)
        await self._freshen(board)
        return board

    @asynccontextmanager
    async def open(self, view: Hashable, make: Make) -> AsyncIterator[Board]:
        """Return a view with its parts, and keep it up to date while a page shows it."""
        board = self._find(view, make)
        board.pages += 1  # before anything is waited for: what no page shows may be forgotten
        try:
            await self._freshen(board)
            yield board
        finally:
            board.pages -= 1
            board.used_at_s = time.monotonic()

    def _find(self, view: Hashable, make: Make) -> Board:
        board = self._boards.pop(view, None) or Board(make)
        self._boards[view] = board  # the last one used stands last
        board.used_at_s = time.monotonic()
        self._forget(_MOST_UNUSED)
        return board

    async def _freshen(self, board: Board) -> None:
        async with board.making:  # who asks at the same time gets the same
            is_same = board.made_of == self._published.reader.version()
            if not is_same or time.monotonic() - board.made_at_s > (
                MAKE_EVERY_S if board.pages else _FRESH_S
            ):
                await self._make(board)

    def version_of(self, board: Board) -> str:
        """Return the name of a view's version, which a page sends back."""
        return f"{self._boot}-{board.number}"

    def message(self, board: Board, have: str) -> str:
        """Return as JSON what a page lacks that has the version `have`, with the time of this machine."""
        boot, _, number = have.partition("-")
        known = int(number) if boot == self._boot and number.isdigit() and len(number) < 18 else 0
        news = board.message(known, self._boot)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return f'{{"now": "{now}", {news[1:]}' if news else f'{{"now": "{now}"}}'

    async def run(self) -> None:
        """Make views again until cancelled: when other tables are published, and every few seconds."""
        spent_s = 0.0
        while True:
            await asyncio.sleep(max(LOOK_EVERY_S, spent_s))  # half of a core is left to what loads
            version, now_s = self._published.reader.version(), time.monotonic()
            for view, board in list(self._boards.items()):
                if not board.pages and now_s - board.used_at_s > _KEEP_S:
                    self._boards.pop(view, None)
                elif board.pages and (board.made_of != version or now_s - board.made_at_s > MAKE_EVERY_S):
                    async with board.making:
                        await self._make(board)
            spent_s = time.monotonic() - now_s

    def _forget(self, most: int) -> None:
        """Keep only so many views that no page shows: anybody may ask for calls of any id."""
        unused = [view for view, board in self._boards.items() if not board.pages]
        for view in unused[:-most]:
            del self._boards[view]

    async def _make(self, board: Board) -> None:
        board.made_of = self._published.reader.version()
        try:
            board.take(await self._published.run(lambda _: board.make()))
        except Exception:
            logger.exception("A view can't be made")
        board.made_at_s = time.monotonic()
