"""`verbex-sync demo`: a simulated Verbex, the real receiver, the real Dagster jobs, and what came out.

Only the play belongs here: who starts when, and what is shown. Everything in it is the product itself.
"""

import asyncio
import os
import secrets
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import SecretStr

from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.run import recent_start
from connector.simulator.sender import SendOptions, send
from connector.simulator.world import World
from pipelines.cli.output import print_table
from pipelines.cli.simulate import progress_bar
from pipelines.runs.syncer import open_syncer
from pipelines.warehouse.files import Warehouse

_MARK = "demo"
_API_RPS = 1000.0  # nobody's servers are spared by asking a simulation slowly


class NotADemoError(Exception):
    """The data folder holds events that are not a demo's."""


def run_demo(settings: Settings, env_file: Path, *, calls: int, seed: int) -> None:
    """Play the demo into the data folder and show what came out.

    Raises:
        NotADemoError: The data folder holds real events; a demo must not mix with them.
        RunFailedError: A Dagster run failed.
    """
    _claim(settings)
    world = World.build(seed=seed, calls=calls, start_at=recent_start(datetime.now(UTC)))
    asyncio.run(_play(settings, env_file, world))
    _show(settings)


async def _play(settings: Settings, env_file: Path, world: World) -> None:
    secret = f"whsec_{secrets.token_urlsafe(24)}"
    async with ApiServer(world) as api:
        click.echo(f"Verbex, simulated, serves its API on {api.url}")
        async with _receiver(settings, secret) as url:
            with progress_bar(f"{len(world.calls)} calls send their webhooks") as progress:
                sent = await send(world.deliveries(), SendOptions(url=url, secrets=[secret]), progress)
            click.echo(f"{sent.acknowledged.total()} deliveries acknowledged: durable, whatever happens now.")
        asking = settings.model_copy(
            update={"api_url": api.url, "api_key": SecretStr(api.api_key), "api_rps": _API_RPS}
        )
        await asyncio.to_thread(_sync, asking, env_file)


def _sync(settings: Settings, env_file: Path) -> None:
    with open_syncer(settings, env_file) as syncer:
        syncer.run(click.echo)


@asynccontextmanager
async def _receiver(settings: Settings, secret: str) -> AsyncIterator[str]:
    """A receiver in a process of its own on a free port; stopped, and its journal sealed, at the end."""
    environment = os.environ | {
        "VERBEX_DATA_DIR": str(settings.data_dir),
        "VERBEX_HOST": "127.0.0.1",
        "VERBEX_PORT": "0",
        "VERBEX_WEBHOOK_SECRETS": secret,
    }
    log = settings.data_dir / "receiver.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "connector.serve", env=environment, stdout=PIPE, stderr=stderr
        )
        try:
            yield await _listening_url(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _listening_url(process: Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise OSError(f"The receiver did not start; {log} says why.")
    click.echo(line)
    return next(word.rstrip(",") for word in line.split() if word.startswith("http"))


def _claim(settings: Settings) -> None:
    mark = settings.data_dir / _MARK
    if settings.data_dir.exists() and any(settings.data_dir.iterdir()) and not mark.exists():
        raise NotADemoError(
            f"{settings.data_dir} holds data that is not a demo's, and a demo must not mix with it. "
            "Set VERBEX_DATA_DIR to another folder."
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    mark.touch()


_BY_STATUS = """
select status, pca_status, count(*) as calls, round(avg(duration_s), 1) as mean_duration_s
from calls group by all order by calls desc, status, pca_status
"""
_COVERAGE = """
select
    count(*) filter (pca_status in ('ready', 'fetched')) as pca_announced,
    count(*) filter (pca_status = 'fetched') as pca_fetched,
    round(100 * pca_fetched / pca_announced, 1) as fetched_percent,
    (select count(*) from pca_items) as items
from calls
"""
_DUPLICATES = """
select
    sum(deliveries)::bigint as deliveries_received,
    count(*) as distinct_events,
    deliveries_received - distinct_events as duplicates_removed
from events
"""
_ONE_CALL = """
select * from (
    unpivot (
        select
            call_id, agent_name, call_type, started_at::varchar as started_at,
            duration_s::varchar as duration_s, finish_reason, message_count::varchar as message_count,
            pca::varchar as pca
        from calls_enriched
        where pca is not null and len(map_keys(pca)) between 3 and 8
        order by started_at desc limit 1
    ) on columns(*) into name fact value value
)
"""


def _show(settings: Settings) -> None:
    with Warehouse(settings.data_dir).read() as connection:
        for title, sql in (
            ("Calls by status", _BY_STATUS),
            ("PCA coverage", _COVERAGE),
            ("Duplicates removed", _DUPLICATES),
            ("One enriched call", _ONE_CALL),
        ):
            result = connection.execute(sql)
            names = [name for name, *_ in result.description or ()]
            print_table(names, result.fetchall(), title=title)
    verbex_sync, dagster = _typed("verbex-sync"), _typed("dagster")
    where = "" if Path("workspace.yaml").exists() else " -m pipelines.definitions"
    click.echo(
        "\nNext, in this folder:\n"
        f'  {verbex_sync} query "select * from agent_daily order by day, agent_id"\n'
        f"  {verbex_sync} status\n"
        f"  {dagster} dev{where}    then open http://127.0.0.1:3000: the same tables, and how they came to be"
    )


def _typed(command: str) -> str:
    """How to type a command that was installed with this one, also without an activated environment."""
    beside = Path(sys.argv[0]).absolute().with_name(command)
    if shutil.which(command) or not beside.exists():
        return command
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
