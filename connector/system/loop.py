"""The event loop that everything of ours that talks HTTP runs on: uvloop's, where there is one.

That choice belongs here, and that a signal, or another thread, ends what runs on it in order.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import TypeVar

_T = TypeVar("_T")
_LOOK_EVERY_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[object, object, _T], *, stop: threading.Event | None = None) -> _T:
    """Run a coroutine to its end, as `asyncio.run` does; a signal cancels it, and then reaches its handler.

    So does `stop`, for those who run it in a thread, which no signal reaches.

    Handlers raise: Python's for Ctrl-C does, and so does the one that Dagster puts around a step. What is
    raised in the middle of the event loop ends in whatever callback was running, and may be heard by nobody.

    Raises:
        asyncio.CancelledError: `stop` was set.
    """
    received: list[int] = []
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(_until_signalled(main, received, stop))
    finally:
        for number in received[:1]:
            signal.raise_signal(number)


async def _until_signalled(
    main: Coroutine[object, object, _T], received: list[int], stop: threading.Event | None
) -> _T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - it is the one that runs

    def cancel(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers are called
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    is_main = threading.current_thread() is threading.main_thread()  # no other may handle signals
    # One that is ignored, or ends the process at once, is left so.
    handled = [number for number in _SIGNALS if is_main and callable(signal.getsignal(number))]
    handlers = {number: signal.signal(number, cancel) for number in handled}
    watcher = None if stop is None else asyncio.create_task(_cancel_when(stop, task))
    try:
        return await main
    finally:
        if watcher is not None:
            watcher.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def _cancel_when(stop: threading.Event, task: "asyncio.Task[_T]") -> None:
    while not stop.is_set():  # noqa: ASYNC110 - it is set by another thread
        await asyncio.sleep(_LOOK_EVERY_S)
    task.cancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
