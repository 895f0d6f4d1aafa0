"""`verbex-sync demo`: a simulated Verbex, the real receiver, the real Dagster jobs, and their result.

The order in which these start, and what is shown, belong here. Nothing else does: the demo runs the product
itself.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from connector.errors import EXIT_USAGE, OperatorError
from connector.settings import Settings
from connector.simulator.run import recent_start
from connector.simulator.world import World
from pipelines.cli.common import make_data_folder, read_settings
from pipelines.cli.demo_live import play_live
from pipelines.cli.demo_mark import is_demo, mark_as_demo
from pipelines.cli.demo_parts import receiver, simulated_verbex
from pipelines.cli.output import print_table
from pipelines.cli.syncing import open_syncer
from pipelines.warehouse.data_folder import DataFolder

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


@click.command(epilog="Example: verbex-sync demo --calls 50")
@click.option("--calls", type=click.IntRange(1), default=300, show_default=True, help="Calls to simulate.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls.")
@click.option(
    "--live", "is_live", is_flag=True, help="Let calls go on coming, and show them on the live page."
)
def demo(calls: int, seed: int, *, is_live: bool) -> None:
    """Try it out: webhooks of simulated calls become tables in ./data. No account is needed."""
    settings = read_settings()
    _check_is_demo(settings)
    make_data_folder(settings)
    mark_as_demo(settings.data_dir)
    now = datetime.now(UTC)
    if is_live:
        play_live(settings, calls, seed, now)
        return
    _play(settings, World.build(seed=seed, calls=calls, start_at=recent_start(now)))
    _show(settings)


def _play(settings: Settings, world: World) -> None:
    """Send, and then load and ask in this thread, which alone hears of Ctrl-C. The API answers in another."""
    with simulated_verbex(world) as verbex:
        with receiver(settings, verbex.secret) as url:
            verbex.send(url, world.deliveries())
        with open_syncer(verbex.asked_by(settings)) as syncer:
            syncer.run(click.echo)


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
