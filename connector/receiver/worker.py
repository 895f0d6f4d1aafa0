"""One receiver process: its sockets and signals, its journal and sealer, and its orderly end.

The clock and randomness enter here. See `connector.receiver.handler` for the answers,
`connector.receiver.supervisor` for several processes on one port, and `connector.serve` for the command that
starts either.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from aiohttp import web

from connector.errors import OperatorError
from connector.journal.group_commit import Journal, new_receiver_id
from connector.journal.seal import Sealer
from connector.landing.files import Landing
from connector.metrics import Metrics
from connector.receiver.auth import Authenticator
from connector.receiver.descriptors import make_room
from connector.receiver.handler import WEBHOOK_PATH, Receiver
from connector.receiver.peers import PeerPolicy
from connector.receiver.redaction import Redactor
from connector.receiver.server import MAX_CONNECTIONS, Server
from connector.receiver.tls import Certificate, load_certificate
from connector.settings import Settings
from connector.system.logs import log_as_json
from connector.system.loop import run

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STOPPED = 0
EXIT_FAILED = 1

DRAIN_TIMEOUT_S = 10.0
LAST_SEAL_TIMEOUT_S = 20.0

# Sealing shares the interpreter with waiting senders. Python's default lets it run for 5 ms at a time.
_LONGEST_TURN_S = 0.0005


class PortError(OperatorError):
    """A port that can't be listened on. The message names it and the cause."""

    def __init__(self, settings: Settings, error: OSError) -> None:
        super().__init__(
            f"The receiver can't listen on {settings.host}, port {settings.port}: {error.strerror or error}. "
            "Free that port, or set another VERBEX_HOST or VERBEX_PORT."
        )


class Role(NamedTuple):
    """The role of a process among the workers.

    Attributes:
        number: Its number, from 0.
        worker_count: The number of workers.
        on_listening: Called with the URL once the process listens.
        stop_when_readable: A file descriptor that becomes readable when the process must stop.
    """

    number: int
    worker_count: int
    on_listening: Callable[[str], None]
    stop_when_readable: int | None = None


def run_worker(settings: Settings, role: Role) -> int:
    """Receive in this process until a stop signal.

    Returns:
        The exit code: 0 after a stop signal, 1 if the journal or the port is in use.
    """
    log_as_json()
    try:
        run(_receive(settings, role))
    except (OperatorError, OSError) as error:
        return complain(error, EXIT_FAILED)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # it ends now, without its handlers
    return EXIT_STOPPED


def complain(error: Exception, exit_code: int) -> int:
    """Write `error` to standard error and return `exit_code`."""
    sys.stderr.write(f"verbex-sync: {error}\n")
    return exit_code


async def _receive(settings: Settings, role: Role) -> None:
    stop = _stop_event(role)
    metrics = Metrics()
    async with _open_journal(settings, role, metrics) as journal:
        receiver = Receiver(
            journal,
            Authenticator.from_settings(settings),
            metrics,
            peers=PeerPolicy(settings.allowed_networks, settings.trusted_proxies),
            ops=PeerPolicy(settings.ops_networks, settings.trusted_proxies),
            redactor=Redactor.from_settings(settings),
            max_body_bytes=settings.max_body_bytes,
        )
        certificate = load_certificate(settings)
        room = make_room(MAX_CONNECTIONS)
        server = Server(receiver, metrics, certificate=certificate, max_connections=room)
        async with _listen(settings, role, server, certificate) as url:
            _settle_memory()
            sys.setswitchinterval(_LONGEST_TURN_S)
            role.on_listening(url)
            await stop.wait()
            logger.info("Stopping: closes the port, answers open requests, then seals the journal")


@asynccontextmanager
async def _open_journal(settings: Settings, role: Role, metrics: Metrics) -> AsyncIterator[Journal]:
    """Open and start a journal and seal it in the background. At the end, store and seal everything in it."""
    root = settings.data_dir / "journal"
    journal = Journal(
        root / str(role.number),
        new_receiver_id(datetime.now(UTC), secrets.token_bytes(4)),
        metrics,
        segment_bytes=settings.seal_bytes,
        segment_age_s=settings.seal_interval_s,
    )
    if role.number == 0:
        for folder in root.iterdir():
            if folder.name.isdigit() and int(folder.name) >= role.worker_count:
                journal.adopt(folder)
    journal.start()
    sealer = Sealer(journal, lambda: Landing(settings.landing), metrics, interval_s=settings.seal_interval_s)
    sealing = asyncio.create_task(sealer.run(), name="sealer")
    try:
        yield journal
    finally:
        await journal.drain()
        sealer.stop()
        done, _ = await asyncio.wait([sealing], timeout=LAST_SEAL_TIMEOUT_S)
        journal.close()
        if not done:
            logger.warning("Landing is slow, so the rest of the journal will be landed at the next start")
            os._exit(EXIT_STOPPED)  # the sealer's thread can't be interrupted, and the journal is durable


@asynccontextmanager
async def _listen(
    settings: Settings, role: Role, server: Server, certificate: Certificate | None
) -> AsyncIterator[str]:
    """Serve, and yield the URL. At the end, answer open requests first."""
    renewal = asyncio.create_task(certificate.keep_fresh()) if certificate else None
    # aiohttp waits this long twice: for the handler, then for its connection.
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_TIMEOUT_S / 2)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            settings.host,
            settings.port,
            backlog=1024,
            reuse_port=role.worker_count > 1,
        )
        try:
            await site.start()
        except OSError as error:
            raise PortError(settings, error) from None
        host, port = runner.addresses[0][:2]
        scheme = "https" if certificate else "http"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{WEBHOOK_PATH}"
    finally:
        await runner.cleanup()
        if renewal:
            renewal.cancel()


def _settle_memory() -> None:
    # The collector should skip objects that live as long as the process, and it should run less often,
    # because the objects of open requests are not garbage yet.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _stop_event(role: Role) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # those that came meanwhile arrive now
    if role.stop_when_readable is not None:
        loop.add_reader(role.stop_when_readable, stop.set)
    return stop
