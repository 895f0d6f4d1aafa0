"""Signals while our HTTP code runs: it ends in order, and then the signal reaches its handler."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from support.deadline import HANG_S

from connector.system.loop import run


class StoppedError(BaseException):
    """The error that a handler raises, as Dagster's does."""


def stop(*_: object) -> None:
    raise StoppedError


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Set the handler of SIGTERM for one test."""
    before = signal.getsignal(signal.SIGTERM)

    def set_handler(handler: Any) -> None:  # noqa: ANN401 - a function or one of two constants
        signal.signal(signal.SIGTERM, handler)

    yield set_handler
    signal.signal(signal.SIGTERM, before)


async def work(log: list[str], rest_s: float = HANG_S) -> str:
    """Send this process a signal, wait in two tasks as a client does, and clean up."""
    asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGTERM)
    try:
        await asyncio.gather(asyncio.sleep(rest_s), asyncio.sleep(rest_s))
    finally:
        await asyncio.sleep(0)
        log.append("cleaned up")
    return "done"


def test_a_signal_ends_the_work_in_order_and_then_reaches_its_handler(
    handle: Callable[[Any], None],
) -> None:
    """The handler's error is raised in the caller, never inside the event loop."""
    log: list[str] = []
    handle(stop)
    with pytest.raises(StoppedError):
        run(work(log))
    assert log == ["cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is stop


def test_a_handler_that_raises_nothing_does_not_keep_the_work_running(handle: Callable[[Any], None]) -> None:
    """The caller still gets an error, because there is no result."""
    log: list[str] = []
    handle(lambda *_: log.append("handled"))
    with pytest.raises(asyncio.CancelledError):
        run(work(log))
    assert log == ["cleaned up", "handled"]


def test_a_signal_that_is_ignored_changes_nothing(handle: Callable[[Any], None]) -> None:
    """The work runs to its end, as under nohup."""
    handle(signal.SIG_IGN)
    assert run(work([], rest_s=0.1)) == "done"


def test_work_in_a_thread_does_not_handle_signals() -> None:
    """Only the main thread may set handlers."""
    results: list[str] = []

    async def answer() -> str:
        return "done"

    thread = Thread(target=lambda: results.append(run(answer())))
    thread.start()
    thread.join()
    assert results == ["done"]


def test_another_thread_can_end_the_work_in_order() -> None:
    """No signal reaches a thread, so the code that started it sets an event."""
    log: list[str] = []
    is_stopped = Event()

    async def wait() -> None:
        is_stopped.set()
        try:
            await asyncio.sleep(HANG_S)
        finally:
            log.append("cleaned up")

    with pytest.raises(asyncio.CancelledError):
        run(wait(), stop=is_stopped)
    assert log == ["cleaned up"]
