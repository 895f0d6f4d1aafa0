"""What the receiver is measured against, each on the port given: `noop`, `postgres` and `file`.

Every one reads the body of a POST and answers; they differ in what they do with it in between. Usage:
`python receiver_rivals.py <which> <port> [<folder or connection string>]`.
"""

import asyncio
import os
import sys
import uuid
from pathlib import Path

import uvloop
from aiohttp import web

PATH = "/webhooks/verbex"


def noop() -> web.Application:
    """Read the body and forget it: the most that aiohttp can do."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    return _application(handle)


def file(folder: Path) -> web.Application:
    """One synced file for each request, on a pool of threads."""

    def keep(body: bytes) -> None:
        descriptor = os.open(folder / uuid.uuid4().hex, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, body)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    async def handle(request: web.Request) -> web.Response:
        await asyncio.to_thread(keep, await request.read())
        return web.Response(status=204)

    return _application(handle)


def serve_postgres(port: int, conninfo: str) -> None:
    """FastAPI with one INSERT and COMMIT for each request, through a pool of 16 connections."""
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import uvicorn
    from fastapi import FastAPI, Request, Response
    from psycopg_pool import AsyncConnectionPool

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncConnectionPool(conninfo, min_size=16, max_size=16) as pool:
            async with pool.connection() as connection:
                await connection.execute("create table if not exists events (trace_id text, body jsonb)")
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post(PATH)
    async def handle(request: Request) -> Response:
        event = await request.json()
        body = (await request.body()).decode()
        async with app.state.pool.connection() as connection:
            await connection.execute("insert into events values (%s, %s)", (event["traceId"], body))
        return Response(status_code=204)

    uvicorn.run(app, port=port, loop="uvloop", access_log=False, log_level="warning")


def _application(handle: "web.Handler") -> web.Application:  # type: ignore[name-defined]
    application = web.Application()
    application.router.add_post(PATH, handle)
    return application


if __name__ == "__main__":
    which, port, *rest = sys.argv[1:]
    if which == "postgres":
        serve_postgres(int(port), rest[0])
    else:
        made = noop() if which == "noop" else file(Path(rest[0]))
        web.run_app(
            made, host="127.0.0.1", port=int(port), access_log=None, print=None, loop=uvloop.new_event_loop()
        )
