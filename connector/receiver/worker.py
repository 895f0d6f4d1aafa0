"""One receiver process: its sockets and signals, its journal and sealer, and how it ends well.

Clock and randomness enter here. What a request is answered is `connector.receiver.handler`'s to say; several
processes on one port are `connector.receiver.supervisor`'s; the command that starts either is
`connector.serve`.
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
from connector.receiver.server import MAX_CONNECTIONS, Server
from connector.receiver.tls import load_certificate
from connector.settings import Settings
from connector.system.logs import log_as_json
from connector.system.loop import run

logger = logging.getLogger(__name__)

EXIT_STOPPED = 0
EXIT_FAILED = 1

DRAIN_TIMEOUT_S = 10.0
LAST_SEAL_TIMEOUT_S = 20.0

# Sealing shares the interpreter with senders who wait; by default it may keep it for 5 ms at a time.
_LONGEST_TURN_S = 0.0005


class Role(NamedTuple):
    """Which of how many workers a process is, and what it does once it listens and when it must stop."""

    number: int
    worker_count: int
    on_listening: Callable[[str], None]
    stop_when_readable: int | None = None


def run_worker(settings: Settings, role: Role) -> int:
    """Receive in this process until it is asked to stop.

    Returns:
        The exit code: 0 after a stop signal, 1 when the journal or the port is taken.
    """
    log_as_json()
    try:
        run(_receive(settings, role))
    except (OperatorError, OSError) as error:
        return complain(error, EXIT_FAILED)
    return EXIT_STOPPED


def complain(error: Exception, exit_code: int) -> int:
    """Write why on standard error; returns `exit_code`."""
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
            max_body_bytes=settings.max_body_bytes,
        )
        server = Server(receiver, metrics, max_connections=make_room(MAX_CONNECTIONS))
        async with _listen(settings, role, server) as url:
            _settle_memory()
            sys.setswitchinterval(_LONGEST_TURN_S)
            role.on_listening(url)
            await stop.wait()
            logger.info("Stopping: no new connections, then what is under way, then the rest of the journal")


@asynccontextmanager
async def _open_journal(settings: Settings, role: Role, metrics: Metrics) -> AsyncIterator[Journal]:
    """A started journal that is being sealed; at the end everything in it is stored and sealed."""
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
            logger.warning("The landing zone is slow; what is left in the journal lands at the next start")
            os._exit(EXIT_STOPPED)  # its thread can't be interrupted, and all that was promised is durable


@asynccontextmanager
async def _listen(settings: Settings, role: Role, server: Server) -> AsyncIterator[str]:
    """The URL that is served; at the end requests under way are answered first."""
    certificate = load_certificate(settings)
    renewal = asyncio.create_task(certificate.keep_fresh()) if certificate else None
    # aiohttp waits that long twice: for the handler, then for its connection.
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_TIMEOUT_S / 2)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            settings.host,
            settings.port,
            backlog=1024,
            ssl_context=certificate.context if certificate else None,
            reuse_port=role.worker_count > 1,
        )
        await site.start()
        host, port = runner.addresses[0][:2]
        scheme = "https" if certificate else "http"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{WEBHOOK_PATH}"
    finally:
        await runner.cleanup()
        if renewal:
            renewal.cancel()


def _settle_memory() -> None:
    # What lives as long as the process need not be looked at again and again, and the objects of
    # requests under way are no garbage yet.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _stop_event(role: Role) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if role.stop_when_readable is not None:
        loop.add_reader(role.stop_when_readable, stop.set)
    return stop
