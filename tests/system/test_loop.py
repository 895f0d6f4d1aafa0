"""Signals while our HTTP runs: it ends in order, and whoever handles the signal hears of it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest

from connector.system.loop import run


class StoppedError(BaseException):
    """What a handler raises, as Dagster's does."""


def stop(*_: object) -> None:
    raise StoppedError


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Sets the handler of SIGTERM for one test."""
    before = signal.getsignal(signal.SIGTERM)

    def set_handler(handler: Any) -> None:  # noqa: ANN401 - a function or one of two constants
        signal.signal(signal.SIGTERM, handler)

    yield set_handler
    signal.signal(signal.SIGTERM, before)


async def work(said: list[str]) -> str:
    """Sends itself a signal, waits in two tasks as a client does, and tidies up."""
    asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGTERM)
    try:
        await asyncio.gather(asyncio.sleep(0.3), asyncio.sleep(0.3))
    finally:
        await asyncio.sleep(0)
        said.append("tidied up")
    return "done"


def test_a_signal_ends_the_work_in_order_and_then_reaches_its_handler(
    handle: Callable[[Any], None],
) -> None:
    """It is raised where the caller stands, never inside the event loop."""
    said: list[str] = []
    handle(stop)
    with pytest.raises(StoppedError):
        run(work(said))
    assert said == ["tidied up"]
    assert signal.getsignal(signal.SIGTERM) is stop


def test_a_handler_that_raises_nothing_does_not_keep_the_work_going(handle: Callable[[Any], None]) -> None:
    """The caller still learns that there is no result."""
    said: list[str] = []
    handle(lambda *_: said.append("heard"))
    with pytest.raises(asyncio.CancelledError):
        run(work(said))
    assert said == ["tidied up", "heard"]


def test_a_signal_that_is_ignored_disturbs_nothing(handle: Callable[[Any], None]) -> None:
    """As under nohup."""
    handle(signal.SIG_IGN)
    assert run(work([])) == "done"


def test_a_thread_leaves_signals_alone() -> None:
    """Only the main thread may handle them."""
    results: list[str] = []

    async def answer() -> str:
        return "done"

    thread = Thread(target=lambda: results.append(run(answer())))
    thread.start()
    thread.join()
    assert results == ["done"]


def test_another_thread_can_end_the_work_in_order() -> None:
    """No signal reaches a thread, so whoever started it says so."""
    said: list[str] = []
    is_stopped = Event()

    async def wait() -> None:
        is_stopped.set()
        try:
            await asyncio.sleep(60)
        finally:
            said.append("tidied up")

    with pytest.raises(asyncio.CancelledError):
        run(wait(), stop=is_stopped)
    assert said == ["tidied up"]
