"""How a test's process ends itself by SIGKILL at a line that was chosen for it, on any machine the same."""

import os
import signal
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import Any


def die_at(step: int, delay_s: float, files: Container[str | None]) -> None:
    """Arrange for this process to end by SIGKILL, `delay_s` seconds after its `step`-th line in `files`."""
    steps = count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and next(steps) == step:
            sys.settrace(None)
            threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return trace

    sys.settrace(trace)


class EndedError(BaseException):
    """The end of what a process did, without ending the process."""


@contextmanager
def ended_at(step: int, files: Container[str | None]) -> Iterator[None]:
    """Raise `EndedError` at the `step`-th line in `files`, as if this process ended there, and swallow it."""
    steps = count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and next(steps) == step:
            sys.settrace(None)
            raise EndedError
        return trace

    sys.settrace(trace)
    try:
        with suppress(EndedError):
            yield
    finally:
        sys.settrace(None)
