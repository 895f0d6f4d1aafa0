"""How a command ends: in words and with an exit code, whatever stops it.

The signals and streams of the process belong here, and the errors that any command may meet. An error that
only one command can explain is explained there.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from connector.errors import EXIT_FAILED, OperatorError
from pipelines.cli.words import fail

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def ended_in_words() -> Iterator[None]:
    """Run a command to its end. What a person can fix or has caused ends it with a sentence, not a trace."""
    _show_what_the_terminal_can()
    try:
        with _handled(signal.default_int_handler):
            yield
    except OperatorError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("Stopped.", EXIT_FAILED)
    except BrokenPipeError:
        _end_unread()
    except OSError as error:
        fail(_in_words(error), EXIT_FAILED)
    except RuntimeError as error:
        if str(error) != "Query interrupted":  # DuckDB's error for a signal in the middle of a query
            raise
        fail("Stopped.", EXIT_FAILED)
    finally:
        _flush()


@contextmanager
def ended_at_once(exit_code: int) -> Iterator[None]:
    """Let a signal end the process while Python imports, where an exception could be lost or end in a trace.

    Nothing has begun then that would have to be finished or cleaned up.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers are called
        with suppress(OSError):
            os.write(sys.stderr.fileno(), b"Stopped.\n")
        os._exit(exit_code)

    with _handled(end):
        yield


@contextmanager
def ended_by_system() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process without us: for work that only reads.

    DuckDB looks at no signal while rows are read from a running query.
    """
    with _handled(signal.SIG_DFL):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal wait until this is done: for what takes no time, and can't be stopped in the middle."""
    received: list[int] = []
    try:
        with _handled(lambda number, _: received.append(number)):
            yield
    finally:
        for number in received[:1]:
            signal.raise_signal(number)


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    """Handle the signals, also if whoever started us has them ignored."""
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _show_what_the_terminal_can() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a test may have put a plain stream there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _end_unread() -> None:
    """End silently: whoever read our output wanted no more of it, as `head` does."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there
    sys.exit(EXIT_FAILED)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _end_unread()
    except (OSError, ValueError) as error:  # a full disk behind `>`
        sys.stderr.write(f"The output could not be written: {error}\n")
        os._exit(EXIT_FAILED)


def _in_words(error: OSError) -> str:
    """Return the thing and the cause, as far as the system names them, and the next step."""
    if error.filename is None or error.strerror is None:
        return f"{error or type(error).__name__}"
    step = {
        PermissionError: "Start this as a user who may use it, or set VERBEX_DATA_DIR to another folder.",
        FileExistsError: "A folder is needed there. Move the file away, or set VERBEX_DATA_DIR.",
        NotADirectoryError: "A folder is needed there. Move the file away, or set VERBEX_DATA_DIR.",
    }.get(type(error), "")
    return f"{os.fsdecode(error.filename)} can't be used: {error.strerror}. {step}".strip()
