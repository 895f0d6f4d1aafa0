"""The REST API of a simulated Verbex: an HTTP server on localhost that answers from a `World`.

Routes, the API key, the log of requests, and the place where faults are injected belong here. See
`connector.simulator.world` for the content of the answers.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from aiohttp import web

from connector.errors import OperatorError
from connector.simulator import listing
from connector.simulator.calls import SECOND_US, Call
from connector.simulator.dialling import PATH as DIAL_PATH
from connector.simulator.dialling import Dials
from connector.simulator.faults import BEFORE_ALL, Faults, break_answer
from connector.simulator.subscriptions import Subscriptions, add_routes
from connector.simulator.world import World

DEFAULT_API_KEY = "simulated-key"
_DELAY_S = web.RequestKey("delay_s", float)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as the server saw it. `at_s` is monotonic, and `fault` is the injected fault."""

    at_s: float
    method: str
    path: str
    fault: str | None
    query: dict[str, str]


class PortError(OperatorError):
    """A port that can't be listened on."""


class ApiServer:
    """The server of a world's API, which runs while its context is open.

    `faults`, `api_key` and `now_us` may change while it runs. `dial_faults` stand in place of `faults` where
    a call is dialled, and `dials` counts what was dialled. `on_request` is called at each request, and
    `requests` holds all of them. Opening the context raises `PortError` if the port can't be listened on.

    Args:
        world: The world to answer from.
        host: The address to listen on.
        port: The port to listen on; 0 for any free one. `url` shows the chosen port.
        api_key: The bearer key that requests must carry.
        faults: The faults to inject, with their rates.
        now_us: The clock that answers follow, in UNIX microseconds: a PCA exists from its time on, and calls
            that have not started are unknown. Without a clock everything exists.
    """

    def __init__(
        self,
        world: World,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = DEFAULT_API_KEY,
        faults: Faults | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self.world = world
        self.api_key = api_key
        self.faults = faults or Faults()
        self.dial_faults: Faults | None = None
        self.now_us = now_us
        self.on_request: Callable[[], None] = lambda: None
        self.requests: list[LoggedRequest] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.peers: set[tuple[str, int]] = set()
        self.subscriptions = Subscriptions(world.seed)
        self.dials = Dials(world)
        self.url = ""
        self._host, self._port = host, port
        self._seen: Counter[str] = Counter()
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.5)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise PortError(
                f"{self._host}:{self._port} can't be listened on: {error.strerror or error}. "
                "Name another port with --api-port."
            ) from None
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def request_count(self, call_id: str = "") -> int:
        """Return the number of requests with `call_id` in their path, or of all requests without one."""
        return sum(1 for request in self.requests if call_id in request.path)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._observe])
        results = "/v2/ai-agents/{agent_id}/postcall-analysis/results/{call_id}"
        app.router.add_get(results, self._get_pca)
        app.router.add_get("/v2/ai-agents/{agent_id}/postcall-analysis", self._get_configuration)
        app.router.add_get("/v1/calls/", self._list_calls)
        app.router.add_get("/v1/calls/{call_id}", self._get_call)
        app.router.add_post(DIAL_PATH, self._dial)
        add_routes(app, self.subscriptions)
        return app

    @web.middleware
    async def _observe(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        nth = self._seen[request.path]
        self._seen[request.path] += 1
        faults = self.faults
        if request.path == DIAL_PATH and self.dial_faults is not None:
            faults = self.dial_faults
        fault = faults.draw(request.path, nth)
        self.requests.append(_log(request, fault))
        self.on_request()
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                return _problem("Invalid API key", 401)
            request[_DELAY_S] = faults.late_s if fault == "late" else 0.0
            right = web.Response() if fault in BEFORE_ALL else await handler(request)
            if fault is None or not isinstance(right, web.Response):
                return right
            return await break_answer(fault, faults, request, right)
        finally:
            self.in_flight -= 1

    async def _get_pca(self, request: web.Request) -> web.Response:
        call = self._find_call(request)
        if call is None or call.agent.agent_id != request.match_info["agent_id"]:
            return _problem("Call not found", 404)
        return _json(self.world.pca_answer(call, self._now()))

    async def _get_configuration(self, request: web.Request) -> web.Response:
        agent = self.world.agent_by_id.get(request.match_info["agent_id"])
        return _json(agent.configuration()) if agent else _problem("Agent not found", 404)

    async def _get_call(self, request: web.Request) -> web.Response:
        call = self._find_call(request)
        return _json(self._details(call)) if call else _problem("Call not found", 404)

    async def _dial(self, request: web.Request) -> web.Response:
        at_us = self._present() + int(request[_DELAY_S] * SECOND_US)
        try:
            call = self.dials.dial(await request.read(), at_us)
        except ValueError as error:
            return _json({"detail": [{"msg": str(error), "type": "value_error"}]}, 422)
        return _json(self.dials.details(call, at_us), 201)

    async def _list_calls(self, request: web.Request) -> web.Response:
        known = (call for call in (*self.world.calls, *self.dials.calls) if self._is_known(call))
        try:
            page, more = listing.list_calls(known, request.query)
        except ValueError as error:
            return _json({"detail": [{"msg": str(error), "type": "value_error"}]}, 422)
        return _json({"calls": [self._details(call) for call in page], **more})

    def _find_call(self, request: web.Request) -> Call | None:
        call_id = request.match_info["call_id"]
        call = self.world.call_by_id.get(call_id) or self.dials.find(call_id)
        return call if call is not None and self._is_known(call) else None

    def _is_known(self, call: Call) -> bool:
        now_us = self._present() if self.dials.has(call) else self._now()
        return now_us is None or call.started_us <= now_us

    def _details(self, call: Call) -> dict[str, Any]:
        is_dialled = self.dials.has(call)
        return self.dials.details(call, self._present()) if is_dialled else self.world.details(call)

    def _now(self) -> int | None:
        return None if self.now_us is None else self.now_us()

    def _present(self) -> int:
        """Return the time for what is dialled, which without a clock happens in real time."""
        return time.time_ns() // 1000 if self.now_us is None else self.now_us()


def _log(request: web.Request, fault: str | None) -> LoggedRequest:
    return LoggedRequest(time.monotonic(), request.method, request.path, fault, dict(request.query))


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _problem(detail: str, status: int) -> web.Response:
    return _json({"detail": detail}, status)
