"""The event loop for all our HTTP code: uvloop's if it is installed, else asyncio's.

The choice of the loop belongs here, and its orderly end by a signal or by another thread.
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
    """Run a coroutine to its end, as `asyncio.run` does. A signal first cancels it, then reaches its handler.

    Setting `stop` also cancels it. Use this in a thread, because signals do not reach threads.

    Handlers may raise: Python's does for Ctrl-C, and so does the one that Dagster sets around a step. Inside
    the event loop, the error would end the callback that happens to run, and could be lost.

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
    assert task is not None  # noqa: S101 - this coroutine runs in a task

    def cancel(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    is_main = threading.current_thread() is threading.main_thread()  # no other thread may set handlers
    # A signal that is ignored, or that ends the process at once, stays that way.
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
    while not stop.is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(_LOOK_EVERY_S)
    task.cancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
