"""Several receiver processes on one port. They share only the port and landing.

Starting, watching and stopping the processes belong here. The kernel distributes connections among them
(`SO_REUSEPORT`). Each process has its own journal.
"""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from connector.metrics import SHARED_FOLDER_VARIABLE
from connector.receiver.worker import STOP_SIGNALS, PortError, Role, run_worker
from connector.settings import Settings
from connector.system.files import make_folder
from connector.system.lock import hold_lock
from connector.system.logs import log_as_json

logger = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0

_spawning = multiprocessing.get_context("spawn")


def supervise(settings: Settings, on_listening: Callable[[str], None]) -> int:
    """Run `settings.workers` receivers until SIGTERM or SIGINT, and restart a worker that ends by itself.

    Args:
        settings: The settings as for one receiver. Port 0 becomes one free port for all.
        on_listening: Called with the URL once every worker listens.

    Returns:
        0 if all workers stopped with 0, else the first exit code that was not 0.

    Raises:
        LockHeldError: Other workers use this data folder.
        PortError: The port is in use.
        OSError: The data folder can't be used.
    """
    log_as_json()
    with _shared_metrics(settings.data_dir / "metrics"), _reserve_port(settings) as reserved:
        settings = settings.model_copy(update={"port": reserved.getsockname()[1]})
        return _Supervisor(settings).run(on_listening)


@contextmanager
def _shared_metrics(folder: Path) -> Iterator[None]:
    """Let the workers share their metrics in a folder that is empty at first.

    It is not in the system's folder for temporary files, which is cleaned of old files while we run.
    """
    make_folder(folder)
    with hold_lock(folder / "lock"):
        for path in folder.glob("*.db"):
            path.unlink()
        os.environ[SHARED_FOLDER_VARIABLE] = str(folder)
        yield


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let stop signals wait. What is started in this block begins with them waiting too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: list[_Worker] = []
        self._is_stopping = False

    def run(self, on_listening: Callable[[str], None]) -> int:
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._workers = [_Worker(self._settings, number) for number in range(self._settings.workers)]
        urls = [worker.wait_until_listening() for worker in self._workers]
        if all(urls) and not self._is_stopping:
            on_listening(urls[0])
            self._watch()
        for worker in self._workers:
            worker.stop()
        codes = [worker.join() for worker in self._workers]
        # A stop signal may end a worker itself, before or after it answers signals. It has lost nothing.
        return next((code for code in codes if code and -code not in STOP_SIGNALS), 0)

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
        """Return the URL that the worker serves, or an empty text if the worker ended instead."""
        try:
            return str(self._url_reader.recv())
        except EOFError:
            return ""

    def stop(self) -> None:
        # Closing our end of the pipe is the stop signal, because that also happens if we are killed.
        self._alive.close()

    def join(self) -> int:
        self.process.join()
        return self.process.exitcode or 0

    def restart(self) -> None:
        fields = {"worker": self._number, "exit_code": self.process.exitcode}
        logger.error("A worker ended by itself and is restarted", extra=fields)
        mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]
        self._alive.close()
        self._start()

    def _start(self) -> None:
        self._url_reader, url_writer = _spawning.Pipe(duplex=False)
        watched, self._alive = _spawning.Pipe(duplex=False)
        self.process = _spawning.Process(
            target=_work,
            args=(self._settings, self._number, url_writer, watched),
            name=f"worker-{self._number}",
        )
        with _signals_wait():  # a worker that still imports could not end in order
            self.process.start()
        url_writer.close()
        watched.close()


def _work(settings: Settings, number: int, url_writer: Connection, watched: Connection) -> None:
    role = Role(number, settings.workers, url_writer.send, watched.fileno())
    raise SystemExit(run_worker(settings, role))


def _reserve_port(settings: Settings) -> socket.socket:
    """Return a socket that is bound but does not listen. It reserves the port for the workers."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        reserved = socket.socket(family)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((settings.host, settings.port))
    except OSError as error:
        raise PortError(settings, error) from None
    return reserved
