"""The command line: what is typed becomes settings and one call; what comes back becomes text.

Exit codes: 0 done, 1 failed, 2 typed or set wrongly. Imports of Dagster and DuckDB wait until a command needs
them, so that `serve` carries neither.
"""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli import account as cli_account
from pipelines.cli import verify as cli_proof
from pipelines.cli.common import ENV_FILE, EXIT_FAILED, EXIT_USAGE, fail, format_option, read_settings

if TYPE_CHECKING:
    from pipelines.cli.output import Format


class Commands(click.Group):
    """The commands, and what any of them says of SQL that can't be used."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from pipelines.models.model import ModelError

            if isinstance(error, ModelError):
                fail(str(error), EXIT_FAILED)
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="verbex-sync")
def main() -> None:
    """Verbex voice-agent webhooks as SQL tables. Settings come from VERBEX_* and .env; see the README."""


@main.command()
@click.option("--host", help="Address to listen on. [VERBEX_HOST]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. [VERBEX_PORT]")
def serve(host: str | None, port: int | None) -> None:
    """Receive webhooks and keep them durably until stopped by SIGTERM or Ctrl-C."""
    from connector.serve import serve as run

    sys.exit(run(read_settings(host=host, port=port)))


@main.command()
@click.option("--full-refresh", is_flag=True, help="Build every table anew from landing.")
@click.option("--follow", is_flag=True, help="Go on until interrupted, as events land.")
def sync(*, full_refresh: bool, follow: bool) -> None:
    """Bring what landed into the tables, fetch what is due, publish."""
    from pipelines.runs import syncer as syncing
    from pipelines.runs.execute import RunFailedError

    settings = read_settings()
    for number in (signal.SIGINT, signal.SIGTERM):
        # also where a shell or a service manager started us with interrupts ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with syncing.open_syncer(settings, ENV_FILE, is_full_refresh=full_refresh) as syncer:
            syncer.follow(click.echo) if follow else syncer.run(click.echo)
    except RunFailedError as error:
        fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        click.echo("Stopped.")
    except RuntimeError as error:
        if str(error) != "Query interrupted":  # what DuckDB makes of an interrupt in the middle of a query
            raise
        click.echo("Stopped.")


@main.command()
@click.argument("sql")
@format_option
def query(sql: str, form: "Format") -> None:
    """Run SQL on the published tables; `-` reads it from standard input."""
    import duckdb

    from pipelines.cli.output import show
    from pipelines.warehouse.files import NothingPublishedError, Warehouse

    statement = sys.stdin.read() if sql == "-" else sql
    try:
        with Warehouse(read_settings().data_dir).read() as connection:
            result = connection.execute(statement)
            show([name for name, *_ in result.description or ()], result.fetchall(), form)
    except NothingPublishedError as error:
        fail(str(error), EXIT_FAILED)
    except duckdb.Error as error:
        fail(str(error), EXIT_USAGE)


@main.command()
@format_option
def status(form: "Format") -> None:
    """What the pipeline holds, how far it is, and what waits."""
    from pipelines.cli.output import show
    from pipelines.cli.status import read_status
    from pipelines.warehouse.files import NothingPublishedError

    try:
        facts = read_status(read_settings())
    except NothingPublishedError as error:
        fail(str(error), EXIT_FAILED)
    if form == "table":
        show(["fact", "value"], list(facts.items()), form)
    else:
        show(list(facts), [tuple(facts.values())], form)


@main.command()
@click.option("--calls", type=click.IntRange(1), default=300, show_default=True, help="Calls to simulate.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls.")
def demo(calls: int, seed: int) -> None:
    """See it work: a simulated Verbex calls, and its webhooks become tables in ./data. No account needed."""
    from pipelines.cli.demo import NotADemoError, run_demo
    from pipelines.runs.execute import RunFailedError

    try:
        run_demo(read_settings(), ENV_FILE, calls=calls, seed=seed)
    except NotADemoError as error:
        fail(str(error), EXIT_USAGE)
    except RunFailedError as error:
        fail(str(error), EXIT_FAILED)


@main.command()
@click.option("--url", help="The receiver's URL. [default: the one that VERBEX_HOST and VERBEX_PORT tell]")
@click.option("--calls", type=click.IntRange(1), default=200, show_default=True, help="Calls to simulate.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same calls.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Deliveries a second. [default: no limit]"
)
@click.option(
    "--duplicates", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share sent twice."
)
@click.option(
    "--disorder", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share sent late."
)
@click.option(
    "--losses", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share never delivered."
)
@click.option(
    "--revisions",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of analyses announced a second time, with other results.",
)
@click.option(
    "--truth", type=click.Path(path_type=Path), help="File to write down what was sent, as JSON lines."
)
@click.option(
    "--api-port", type=int, help="Serve the REST API on this port until interrupted; 0 takes a free one."
)
def simulate(
    *,
    url: str | None,
    calls: int,
    seed: int,
    rate: float | None,
    duplicates: float,
    disorder: float,
    losses: float,
    revisions: float,
    truth: Path | None,
    api_port: int | None,
) -> None:
    """Be Verbex: send the webhooks of simulated calls, and serve its REST API."""
    from pipelines.cli.simulate import now_options, run_simulator, send_options

    run_simulator(
        now_options(
            send_options(read_settings(), url, rate),
            calls=calls,
            seed=seed,
            duplicates=duplicates,
            disorder=disorder,
            losses=losses,
            revisions=revisions,
            truth_path=truth,
            api_port=api_port,
        )
    )


for _command in (*cli_proof.COMMANDS, *cli_account.COMMANDS):
    main.add_command(_command)
