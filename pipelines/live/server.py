"""The live page as a server: its socket and signals, its one reader, and its orderly end.

The answers do not belong here: see `pipelines.live.site`.
"""

import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

from aiohttp import web

from connector.errors import OperatorError
from connector.receiver.tls import Certificate, load_certificate
from connector.settings import Settings
from connector.system.loop import run
from pipelines.live.access import Access
from pipelines.live.gate import Gate
from pipelines.live.health import Watch
from pipelines.live.pages import Pages
from pipelines.live.parts import Parts
from pipelines.live.published import Published
from pipelines.live.site import Site
from pipelines.live.updates import Updates
from pipelines.live.view import View
from pipelines.live.words import Words
from pipelines.warehouse.data_folder import DataFolder

_DRAIN_S = 2.0
_LONGEST_LINE_BYTES = 80_000  # the address of a call names its id, and nothing limits that


class PortError(OperatorError):
    """A port that can't be listened on."""


def serve_live(
    settings: Settings, *, host: str, port: int, has_numbers: bool, echo: Callable[[str], object]
) -> None:
    """Serve the live page until SIGTERM or Ctrl-C.

    Args:
        settings: Where the tables are, in which time zone, and who may look.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        has_numbers: Whether phone numbers are shown whole.
        echo: Called with the line that says where the page is.

    Raises:
        AccessError: Other machines reach `host`, and nothing says who may look.
        PortError: The port is taken.
    """
    access = Access.of(settings, host)
    certificate = load_certificate(settings)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # what is no HTTP is no news
    run(
        _serve(
            settings, access, certificate, host, port, Words(ZoneInfo(settings.time_zone), has_numbers), echo
        )
    )


async def _serve(
    settings: Settings,
    access: Access,
    certificate: Certificate | None,
    host: str,
    port: int,
    words: Words,
    echo: Callable[[str], object],
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _open_site(settings, words) as site:
        gate = Gate(access, site.pages, is_https=certificate is not None)
        app = web.Application(middlewares=[gate.middleware], client_max_size=10_000)
        app.on_response_prepare.append(gate.add_headers)
        app.add_routes([*site.routes(), *gate.routes()])
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_DRAIN_S, max_line_size=_LONGEST_LINE_BYTES
        )
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port, ssl_context=_renewing(certificate)).start()
            except OSError as error:
                raise PortError(
                    f"{host}:{port} can't be listened on: {error.strerror or error}. Another live page may "
                    "be running. Name another port with --port."
                ) from None
            address, number = runner.addresses[0][:2]
            shown = f"[{address}]" if ":" in address else address
            echo(f"The live page: {'https' if certificate else 'http'}://{shown}:{number}")
            await stop.wait()
            site.close()
        finally:
            await runner.cleanup()


def _renewing(certificate: Certificate | None) -> ssl.SSLContext | None:
    """Return a context that serves the certificate as it is at each connection."""
    if certificate is None:
        return None

    def take_newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        certificate.reload_if_changed()
        connection.context = certificate.context

    context = certificate.context
    context.sni_callback = take_newest
    return context


@asynccontextmanager
async def _open_site(settings: Settings, words: Words) -> AsyncIterator[Site]:
    published = Published(DataFolder.from_settings(settings))
    updates = Updates(published)
    watch = Watch(settings.seal_interval_s)
    parts = Parts(published.reader, watch, Pages(words))
    await published.run(
        lambda _: parts.of_view(View())
    )  # the first page should not wait for what is read once
    running = asyncio.create_task(updates.run(), name="updates")
    try:
        yield Site(published, parts, updates)
    finally:
        running.cancel()
        await published.close()
    if watch.is_asking:  # a bucket may take minutes to fail, and its thread can't be ended
        sys.stdout.flush()
        os._exit(0)
