"""The processes and servers of a demo: a simulated Verbex, the real receiver, the real live page.

Starting and ending them belongs here. The order in which a demo uses them does not: see `pipelines.cli.demo`
and `pipelines.cli.demo_live`.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import SecretStr

from connector.errors import OperatorError
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.deliveries import Dispatch
from connector.simulator.sender import SendOptions, send
from connector.simulator.world import World
from connector.system.counts import counted
from pipelines.cli.ending import undisturbed
from pipelines.cli.output import progress_bar

_API_RPS = 1000.0  # a simulated API needs no low limit


class PartFailedError(OperatorError):
    """A part of a demo that did not start. The message names its log."""


@dataclass(frozen=True)
class SimulatedVerbex:
    """A running simulation: its API, and the secret with which it signs. `portal` runs its event loop."""

    api: ApiServer
    secret: str
    portal: BlockingPortal

    def send(self, url: str, deliveries: Sequence[Dispatch]) -> None:
        """Send deliveries as fast as the receiver at `url` answers."""
        calls = len({delivery.event.call_id for delivery in deliveries if delivery.event.call_id})
        with progress_bar(f"Sending the webhooks of {counted(calls, 'call')}") as progress:
            sent = self.portal.call(send, deliveries, self.options(url), progress)
        click.echo(f"{counted(sent.acknowledged.total(), 'delivery')} acknowledged and on disk.")

    def options(self, url: str) -> SendOptions:
        """Return how to send to a receiver."""
        return SendOptions(url=url, secrets=[self.secret])

    def asked_by(self, settings: Settings) -> Settings:
        """Return settings that ask this Verbex."""
        key = SecretStr(self.api.api_key)
        return settings.model_copy(update={"api_url": self.api.url, "api_key": key, "api_rps": _API_RPS})


@contextmanager
def simulated_verbex(world: World) -> Iterator[SimulatedVerbex]:
    """Serve a world's API in another thread: the main one alone hears of Ctrl-C, and stays free for it."""
    secret = f"whsec_{secrets.token_urlsafe(24)}"
    with ExitStack() as stack:
        with undisturbed():  # a portal whose start is interrupted waits for its thread for ever
            portal = stack.enter_context(start_blocking_portal())
        api = stack.enter_context(portal.wrap_async_context_manager(ApiServer(world)))
        click.echo(f"A simulated Verbex serves its API on {api.url}")
        yield SimulatedVerbex(api, secret, portal)


@contextmanager
def receiver(settings: Settings, secret: str, **more: str) -> Iterator[str]:
    """Run a receiver in its own process on a free port. At the end, it seals its journal and stops."""
    environment = {
        "VERBEX_HOST": "127.0.0.1",
        "VERBEX_PORT": "0",
        "VERBEX_WORKERS": "1",
        "VERBEX_WEBHOOK_SECRETS": secret,
        **more,
    }
    with _running(settings, ["-m", "connector.serve"], environment, "receiver") as url:
        yield url


@contextmanager
def live_page(settings: Settings) -> Iterator[str]:
    """Run the live page in its own process on a free port of this machine."""
    command = ["-m", "pipelines.cli", "live", "--host", "127.0.0.1", "--port", "0"]
    with _running(settings, command, {}, "live") as url:
        yield url


@contextmanager
def _running(settings: Settings, words: list[str], more: dict[str, str], name: str) -> Iterator[str]:
    log = settings.data_dir / f"{name}.log"
    environment = os.environ | {"VERBEX_DATA_DIR": str(settings.data_dir)} | more
    with (
        log.open("ab") as stderr,
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield _listening_url(process, name, log)
        finally:
            process.terminate()


def _listening_url(process: "subprocess.Popen[bytes]", name: str, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    line = process.stdout.readline().decode().strip()
    if not line:
        raise PartFailedError(f"The {name} did not start. See {log} for the reason.")
    click.echo(line)
    return next(word.rstrip(",") for word in line.split() if word.startswith("http"))
