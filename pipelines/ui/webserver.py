"""Dagster's web server and daemon for the definitions of this project.

Starting and stopping both belongs here. Which requests the web server answers does not: see
`pipelines.ui.guard`.
"""

import socket
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from connector.errors import EXIT_USAGE, OperatorError
from connector.system.hosts import is_loopback
from pipelines.instance.home import ensure_home, open_home
from pipelines.ui.guard import Guard, parse_origin

_MODULE = "pipelines.definitions"
_TARGET = ModuleTarget(_MODULE, attribute=None, working_directory=None, location_name=None)


class UiError(OperatorError):
    """A UI that can't be served as asked."""


class UnknownOriginError(UiError):
    """An address that other machines reach, without the origin under which people open it, or a wrong one."""

    exit_code = EXIT_USAGE


def serve_ui(
    data_dir: Path,
    env_file: Path,
    *,
    host: str,
    port: int,
    origins: Sequence[str],
    is_read_only: bool,
    echo: Callable[[str], object],
) -> None:
    """Serve Dagster's UI until interrupted, and run its daemon, which starts sensors and schedules.

    Args:
        data_dir: The folder in which Dagster's home is made if none is set.
        env_file: The file in which a person may have set a home.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        origins: Under which people open the UI, besides the address listened on, such as
            `https://dagster.example.com` for a proxy.
        is_read_only: Whether nothing can be started or changed in the UI. No daemon runs then.
        echo: Called with the line that says where the UI is.

    Raises:
        UiError: The port is taken, or the daemon ended.
        UnknownOriginError: Other machines reach `host`, and no origin is named, or one is no origin.
    """
    try:
        named = {parse_origin(origin) for origin in origins}
    except ValueError as error:
        raise UnknownOriginError(f"--origin {error}") from None
    if not is_loopback(host) and not origins:
        raise UnknownOriginError(
            f"Other machines reach {host}, and Dagster's UI has no login. Put a proxy that asks for one"
            " in front, and name what people open there: --origin https://dagster.example.com"
        )
    home = ensure_home(data_dir, env_file)
    with _listen(host, port) as listener, open_home(home, data_dir) as instance:
        own = _origins_of(host, listener.getsockname()[1])
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3_600, max_overflow=20)
        with WorkspaceProcessContext(
            instance, _TARGET, version=__version__, read_only=is_read_only, code_server_log_level="warning"
        ) as workspace:
            application = Guard(create_app_from_workspace_process_context(workspace), {*own, *named})
            server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
            with nullcontext() if is_read_only else _running_daemon(server):
                echo(f"Dagster's UI: {own[0]}")
                server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UiError(
            f"{host}:{port} can't be listened on: {error.strerror}. Another UI may be running."
            " Name another port with --port."
        ) from None


def _origins_of(host: str, port: int) -> list[str]:
    """Return the origins under which a browser on this machine may open the UI, the best one first."""
    names = [f"[{host}]" if ":" in host else host, *(["localhost"] if is_loopback(host) else ())]
    return [f"http://{name}:{port}" for name in names]


@contextmanager
def _running_daemon(server: uvicorn.Server) -> Iterator[None]:
    """Run Dagster's daemon as a child. If it ends by itself, the server ends too.

    Raises:
        UiError: The daemon ended by itself.
    """
    command = Path(sysconfig.get_path("scripts")) / "dagster-daemon"
    # At its usual level it prints a line for each look of a sensor, every five seconds.
    daemon = subprocess.Popen([command, "run", "-m", _MODULE, "--log-level", "warning"])  # noqa: S603

    def end_together() -> None:
        daemon.wait()
        server.should_exit = True

    threading.Thread(target=end_together, daemon=True).start()
    try:
        yield
        if daemon.poll() is not None:
            raise UiError("Dagster's daemon ended; its lines above say why. Start this again.")
    finally:
        daemon.terminate()
        daemon.wait()
