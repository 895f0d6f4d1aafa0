"""The pages, as answers to HTTP requests.

Which address shows what belongs here. Who may look does not: see `pipelines.live.gate`. Listening does not
either: see `pipelines.live.server`.
"""

import asyncio
import re
from collections.abc import Hashable
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from pipelines.live.pages import Pages
from pipelines.live.parts import Parts
from pipelines.live.published import Published
from pipelines.live.updates import Board, Make, Updates
from pipelines.live.view import View, ViewError

BEAT_S = 5.0
MOST_PAGES = 1_000
_LONGEST_WRITE_S = 30.0
_LONGEST_ID = 20_000
_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_SQL_NAME = re.compile(r"live_[a-z_]+|pipeline_status")


class Site:
    """The pages of one data folder, for as long as `updates` runs."""

    def __init__(self, published: Published, parts: Parts, updates: Updates) -> None:
        self._published = published
        self._parts = parts
        self._updates = updates
        self._is_closing = asyncio.Event()

    @property
    def pages(self) -> Pages:
        """The templates."""
        return self._parts.pages

    def routes(self) -> list[web.RouteDef]:
        """Return what is answered, and by what. Everything here only reads."""
        return [
            web.get("/", self.show_view),
            web.get("/call", self.show_call),
            web.get("/sql/{name}", self.show_sql),
            web.get("/updates/view", self.send_view_updates),
            web.get("/updates/call", self.send_call_updates),
            web.get("/static/{name}", self.show_static),
        ]

    async def show_view(self, request: web.Request) -> web.Response:
        """Show the main page, of all agents or one, as of now or of the end of a day."""
        try:
            view = View.of(request.query)
        except ViewError as error:
            return self._say("No such day", str(error), HTTPStatus.BAD_REQUEST)
        board = await self._updates.board(*self._view(view))
        agents = await self._published.run(lambda _: self._parts.agents())
        return self._page(
            "main", board, f"/updates/view?{urlencode(view.as_query())}", view=view, agents=agents
        )

    async def show_call(self, request: web.Request) -> web.Response:
        """Show one call."""
        call_id = request.query.get("id", "")
        if not 0 < len(call_id) <= _LONGEST_ID:
            return self._say("No such call", "The address names no call.", HTTPStatus.BAD_REQUEST)
        board = await self._updates.board(*self._call(call_id))
        return self._page("call_page", board, f"/updates/call?{urlencode({'id': call_id})}", call_id=call_id)

    async def show_sql(self, request: web.Request) -> web.Response:
        """Show the SQL that makes some numbers."""
        name = request.match_info["name"]
        queries = self._published.reader.folder.sql_dir / "queries"
        path = {each.stem: each for each in queries.glob("*.sql")}.get(name)
        if not _SQL_NAME.fullmatch(name) or path is None:
            return self._say("No such SQL", "The address names none.", HTTPStatus.NOT_FOUND)
        sql = path.read_text(encoding="utf-8")
        return _html(self.pages.render("message", title=f"{name}.sql", text="", sql=sql))

    async def show_static(self, request: web.Request) -> web.Response:
        """Give the style or the script."""
        path = {each.name: each for each in _STATIC.iterdir()}.get(request.match_info["name"])
        if path is None or path.suffix not in _TYPES:
            return self._say("Not here", "There is no such file.", HTTPStatus.NOT_FOUND)
        body = path.read_bytes()
        tag = f'"{sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=body, content_type=_TYPES[path.suffix], charset="utf-8", headers=headers)

    async def send_view_updates(self, request: web.Request) -> web.StreamResponse:
        """Send what changes on a main page."""
        try:
            view = View.of(request.query)
        except ViewError as error:
            return self._say("No such day", str(error), HTTPStatus.BAD_REQUEST)
        return await self._send(request, *self._view(view))

    async def send_call_updates(self, request: web.Request) -> web.StreamResponse:
        """Send what changes on a call's page."""
        call_id = request.query.get("id", "")[:_LONGEST_ID]
        return await self._send(request, *self._call(call_id))

    def close(self) -> None:
        """End what is being sent: an open page asks again, and finds the next process."""
        self._is_closing.set()

    def _view(self, view: View) -> tuple[Hashable, Make]:
        return ("view", view), lambda: self._parts.of_view(view)

    def _call(self, call_id: str) -> tuple[Hashable, Make]:
        return ("call", call_id), lambda: self._parts.of_call(call_id)

    def _page(self, template: str, board: Board, updates: str, **values: object) -> web.Response:
        return _html(
            self.pages.render_page(
                template,
                board.parts,
                version=self._updates.version_of(board),
                now=datetime.now(UTC),
                updates=updates,
                **values,
            )
        )

    async def _send(self, request: web.Request, view: Hashable, make: Make) -> web.StreamResponse:
        have = request.headers.get("Last-Event-ID") or request.query.get("have", "")
        if request.query.get("once"):
            board = await self._updates.board(view, make)
            return web.json_response(text=self._updates.message(board, have), headers=_FRESH)
        if self._updates.pages >= MOST_PAGES:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{MOST_PAGES} pages are open.\n")
        response = web.StreamResponse(headers=_STREAMED)
        async with self._updates.open(view, make) as board:
            await response.prepare(request)
            while not self._is_closing.is_set():
                news, version = board.news, self._updates.version_of(board)
                text = f"id: {version}\ndata: {self._updates.message(board, have)}\n\n"
                try:
                    async with asyncio.timeout(_LONGEST_WRITE_S):
                        await response.write(text.encode())
                except TimeoutError:  # nothing reads it, and closing would wait until something does
                    if request.transport is not None:
                        request.transport.abort()
                    break
                have = version
                await self._wait(news)
        return response

    async def _wait(self, news: asyncio.Event) -> None:
        """Wait until a view changed, or until a page would think that the connection is dead."""
        waiting = [asyncio.create_task(event.wait()) for event in (news, self._is_closing)]
        try:
            await asyncio.wait(waiting, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def _say(self, title: str, text: str, status: HTTPStatus) -> web.Response:
        return _html(self.pages.render("message", title=title, text=text, sql=""), status)


_FRESH = {"Cache-Control": "no-store"}
# nginx and its cousins hold back what is streamed unless they are asked not to.
_STREAMED = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=_FRESH)
