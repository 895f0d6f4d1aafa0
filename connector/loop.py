"""The event loop that everything of ours that talks HTTP runs on: uvloop's, where there is one.

That choice belongs here, and that a signal ends what runs on it in order.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import TypeVar

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end, as `asyncio.run` does; a signal cancels it, and then reaches its handler.

    Handlers raise: Python's for Ctrl-C does, and so does the one that Dagster puts around a step. What is
    raised in the middle of the event loop ends in whatever callback was running, and may be heard by nobody.
    """
    received: list[int] = []
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(_until_signalled(main, received))
    finally:
        for number in received[:1]:
            signal.raise_signal(number)


async def _until_signalled(main: Coroutine[object, object, _T], received: list[int]) -> _T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - it is the one that runs

    def cancel(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers are called
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    is_main = threading.current_thread() is threading.main_thread()  # no other may handle signals
    # One that is ignored, or ends the process at once, is left so.
    handled = [number for number in _SIGNALS if is_main and callable(signal.getsignal(number))]
    handlers = {number: signal.signal(number, cancel) for number in handled}
    try:
        return await main
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
