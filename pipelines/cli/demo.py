"""`verbex-sync demo`: a simulated Verbex, the real receiver, the real Dagster jobs, and their result.

The order in which these start, and what is shown, belong here. Nothing else does: the demo runs the product
itself.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from anyio.from_thread import start_blocking_portal
from pydantic import SecretStr

from connector.errors import EXIT_USAGE, OperatorError
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.run import recent_start
from connector.simulator.sender import SendOptions, send
from connector.simulator.world import World
from connector.system.counts import counted
from pipelines.cli.common import make_data_folder, read_settings
from pipelines.cli.demo_mark import is_demo, mark_as_demo
from pipelines.cli.output import print_table, progress_bar
from pipelines.cli.syncing import open_syncer
from pipelines.warehouse.data_folder import DataFolder

_API_RPS = 1000.0  # a simulated API needs no low limit


_SHOWN = {
    "Calls by status": "demo_calls_by_status",
    "PCA coverage": "demo_pca_coverage",
    "Duplicates removed": "demo_duplicates",
    "One enriched call": "demo_one_call",
}
"""What is shown at the end: titles, and queries in `sql/queries/`."""


class NotADemoError(OperatorError):
    """A data folder with events that are not from a demo."""

    exit_code = EXIT_USAGE


class ReceiverFailedError(OperatorError):
    """A receiver that did not start. The message names its log."""


@click.command(epilog="Example: verbex-sync demo --calls 50")
@click.option("--calls", type=click.IntRange(1), default=300, show_default=True, help="Calls to simulate.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls.")
def demo(calls: int, seed: int) -> None:
    """Try it out: webhooks of simulated calls become tables in ./data. No account is needed."""
    settings = read_settings()
    _check_is_demo(settings)
    make_data_folder(settings)
    mark_as_demo(settings.data_dir)
    world = World.build(seed=seed, calls=calls, start_at=recent_start(datetime.now(UTC)))
    _play(settings, world)
    _show(settings)


def _play(settings: Settings, world: World) -> None:
    """Send, and then load and ask in this thread, which alone hears of Ctrl-C. The API answers in another."""
    secret = f"whsec_{secrets.token_urlsafe(24)}"
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(ApiServer(world)) as api:
        click.echo(f"A simulated Verbex serves its API on {api.url}")
        with (
            _receiver(settings, secret) as url,
            progress_bar(f"Sending the webhooks of {counted(len(world.calls), 'call')}") as progress,
        ):
            sent = portal.call(send, world.deliveries(), SendOptions(url=url, secrets=[secret]), progress)
        deliveries = counted(sent.acknowledged.total(), "delivery")
        click.echo(f"{deliveries} acknowledged and on disk.")
        asking = settings.model_copy(
            update={"api_url": api.url, "api_key": SecretStr(api.api_key), "api_rps": _API_RPS}
        )
        with open_syncer(asking) as syncer:
            syncer.run(click.echo)


@contextmanager
def _receiver(settings: Settings, secret: str) -> Iterator[str]:
    """Run a receiver in its own process on a free port. At the end, it seals its journal and stops."""
    environment = os.environ | {
        "VERBEX_DATA_DIR": str(settings.data_dir),
        "VERBEX_HOST": "127.0.0.1",
        "VERBEX_PORT": "0",
        "VERBEX_WORKERS": "1",
        "VERBEX_WEBHOOK_SECRETS": secret,
    }
    log = settings.data_dir / "receiver.log"
    command = [sys.executable, "-m", "connector.serve"]
    with (
        log.open("ab") as stderr,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr) as process,  # noqa: S603
    ):
        try:
            yield _listening_url(process, log)
        finally:
            process.terminate()


def _listening_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    line = process.stdout.readline().decode().strip()
    if not line:
        raise ReceiverFailedError(f"The receiver did not start. See {log} for the reason.")
    click.echo(line)
    return next(word.rstrip(",") for word in line.split() if word.startswith("http"))


def _check_is_demo(settings: Settings) -> None:
    data_dir = settings.data_dir
    if data_dir.exists() and any(data_dir.iterdir()) and not is_demo(data_dir):
        raise NotADemoError(
            f"{data_dir} has data that is not from a demo, and a demo must not mix with it. "
            "Set VERBEX_DATA_DIR to another folder."
        )


def _show(settings: Settings) -> None:
    folder = DataFolder.from_settings(settings)
    for title, query in _SHOWN.items():
        found = folder.query(query)
        print_table(found.columns, found.rows, title=title)
    verbex_sync = _typed("verbex-sync")
    click.echo(
        "\nNext, in this folder:\n"
        f"  {verbex_sync} query --list    then, for example: {verbex_sync} query --question agents_compared\n"
        f'  {verbex_sync} query "select * from agent_daily order by day, agent_id"\n'
        f"  {verbex_sync} status\n"
        f"  {verbex_sync} ui    then open http://127.0.0.1:3000: the same tables and their history"
    )


def _typed(command: str) -> str:
    """Return what to type for a command installed with this one, even without an activated environment."""
    path = Path(sys.argv[0]).absolute().with_name(command)
    if shutil.which(command) or not path.exists():
        return command
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
