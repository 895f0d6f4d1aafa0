"""Several receiver processes on one port, sharing nothing but the port and the landing zone.

Starting, watching and stopping them belongs here. The kernel spreads connections among them
(`SO_REUSEPORT`); each has a journal of its own.
"""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from tempfile import TemporaryDirectory
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from connector.metrics import SHARED_FOLDER_VARIABLE
from connector.receiver.worker import Role, run_worker
from connector.settings import Settings
from connector.system.logs import log_as_json

logger = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0

_spawning = multiprocessing.get_context("spawn")


def supervise(settings: Settings, on_listening: Callable[[str], None]) -> int:
    """Run `settings.workers` receivers until SIGTERM or SIGINT; start again what dies on its own.

    Args:
        settings: As for one receiver; a port of 0 becomes one free port for all.
        on_listening: Told the URL once every worker listens.

    Returns:
        0 if all workers stopped well, else the first exit code that was not 0.
    """
    log_as_json()
    # A folder of its own: whoever is started beside it by mistake must not take its figures away.
    with TemporaryDirectory(prefix="verbex-metrics-") as folder, _reserve_port(settings) as reserved:
        os.environ[SHARED_FOLDER_VARIABLE] = folder
        settings = settings.model_copy(update={"port": reserved.getsockname()[1]})
        return _Supervisor(settings).run(on_listening)


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: list[_Worker] = []
        self._is_stopping = False

    def run(self, on_listening: Callable[[str], None]) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._workers = [_Worker(self._settings, number) for number in range(self._settings.workers)]
        urls = [worker.wait_until_listening() for worker in self._workers]
        if all(urls) and not self._is_stopping:
            on_listening(urls[0])
            self._watch()
        for worker in self._workers:
            worker.stop()
        return next(filter(None, [worker.join() for worker in self._workers]), 0)

    def _watch(self) -> None:
        while not self._is_stopping:
            wait([worker.process.sentinel for worker in self._workers], timeout=RESTART_PAUSE_S)
            for worker in self._workers:
                if not worker.process.is_alive() and not self._is_stopping:
                    time.sleep(RESTART_PAUSE_S)
                    worker.restart()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        for worker in self._workers:
            worker.stop()


class _Worker:
    process: SpawnProcess

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._start()

    def wait_until_listening(self) -> str:
        """The URL it serves, or nothing if it ended instead."""
        try:
            return str(self._told.recv())
        except EOFError:
            return ""

    def stop(self) -> None:
        # Closing our end of the pipe is the signal: a supervisor that is killed gives it too.
        self._alive.close()

    def join(self) -> int:
        self.process.join()
        return self.process.exitcode or 0

    def restart(self) -> None:
        logger.error("A worker ended by itself and is started again", extra={"worker": self._number})
        mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]
        self._alive.close()
        self._start()

    def _start(self) -> None:
        self._told, telling = _spawning.Pipe(duplex=False)
        watched, self._alive = _spawning.Pipe(duplex=False)
        self.process = _spawning.Process(
            target=_work, args=(self._settings, self._number, telling, watched), name=f"worker-{self._number}"
        )
        self.process.start()
        telling.close()
        watched.close()


def _work(settings: Settings, number: int, telling: Connection, watched: Connection) -> None:
    role = Role(number, settings.workers, telling.send, watched.fileno())
    raise SystemExit(run_worker(settings, role))


def _reserve_port(settings: Settings) -> socket.socket:
    """A socket that is bound but does not listen: it holds the port for those that do."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        reserved = socket.socket(family)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((settings.host, settings.port))
    except OSError as error:
        raise OSError(f"No worker can listen on {settings.host}, port {settings.port}: {error}") from None
    return reserved
