"""The receiver as a process: sockets, signals, clock and randomness enter here, and it ends well.

Wiring belongs here. What a request is answered is `connector.receiver`'s to say.
"""

import asyncio
import gc
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from connector.auth import Authenticator
from connector.journal import Journal, JournalLockedError, new_receiver_id
from connector.landing import Landing
from connector.metrics import Metrics
from connector.receiver import WEBHOOK_PATH, Receiver
from connector.seal import Sealer
from connector.settings import Settings, SettingsError, load_settings

logger = logging.getLogger(__name__)

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2

DRAIN_TIMEOUT_S = 10.0
KEEPALIVE_TIMEOUT_S = 75.0  # longer than a reverse proxy's 60 s, so that the proxy closes first


def serve(settings: Settings) -> int:
    """Receive until SIGTERM or SIGINT, then drain, seal and return.

    Prints one line on standard output once it listens; everything else is a log line on standard error.

    Returns:
        The exit code: 0 after a stop signal, 1 when the journal or the port is taken, 2 when the
        settings let nobody in.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        authenticator = Authenticator.from_settings(settings)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(settings, authenticator))
    except SettingsError as error:
        return _complain(error, EXIT_SETTINGS)
    except (JournalLockedError, OSError) as error:
        return _complain(error, EXIT_FAILED)
    return EXIT_STOPPED


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(settings: Settings, authenticator: Authenticator) -> None:
    stop = _stop_event()
    metrics = Metrics()
    async with _open_journal(settings) as journal:
        receiver = Receiver(journal, authenticator, metrics, max_body_bytes=settings.max_body_bytes)
        async with _listen(settings, receiver) as url:
            gc.collect()
            gc.freeze()  # what lives as long as the process need not be looked at again and again
            _say(f"listening on {url}, {authenticator.describe()}, stores in {settings.data_dir}")
            await stop.wait()
            logger.info("Stopping: no new connections, then what is under way, then the rest of the journal")


@asynccontextmanager
async def _open_journal(settings: Settings) -> AsyncIterator[Journal]:
    """A started journal that is being sealed; at the end everything in it is stored and sealed."""
    journal = Journal(
        settings.data_dir / "journal" / "0",
        new_receiver_id(datetime.now(UTC), secrets.token_bytes(4)),
        segment_bytes=settings.seal_bytes,
        segment_age_s=settings.seal_interval_s,
    )
    journal.start()
    sealer = Sealer(journal, lambda: Landing(settings.landing), interval_s=settings.seal_interval_s)
    sealing = asyncio.create_task(sealer.run(), name="sealer")
    try:
        yield journal
    finally:
        await journal.drain()
        sealer.stop()
        await sealing
        journal.close()


@asynccontextmanager
async def _listen(settings: Settings, receiver: Receiver) -> AsyncIterator[str]:
    """The URL that is served; at the end requests under way are answered first."""
    server = web.Server(
        receiver.handle, access_log=None, auto_decompress=False, keepalive_timeout=KEEPALIVE_TIMEOUT_S
    )
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}{WEBHOOK_PATH}"
    finally:
        await runner.cleanup()


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _say(text: str) -> None:
    sys.stdout.write(f"verbex-sync: {text}\n")
    sys.stdout.flush()


def _complain(error: Exception, exit_code: int) -> int:
    sys.stderr.write(f"verbex-sync: {error}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(serve(load_settings()))
