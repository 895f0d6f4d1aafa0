"""`verbex-sync sync`."""

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE
from pipelines.cli.common import read_settings
from pipelines.cli.syncing import open_syncer
from pipelines.cli.words import fail


@click.command(epilog="Example: verbex-sync sync --follow")
@click.option("--full-refresh", is_flag=True, help="Build every table from landing again.")
@click.option(
    "--accept-missing",
    is_flag=True,
    help="With --full-refresh: build without lost landed files.",
)
@click.option("--follow", is_flag=True, help="Keep loading events as they land, until interrupted.")
def sync(*, full_refresh: bool, accept_missing: bool, follow: bool) -> None:
    """Load what landed into the tables, fetch what is due, publish."""
    if accept_missing and not full_refresh:
        fail("--accept-missing goes with --full-refresh, which builds every table again.", EXIT_USAGE)
    settings = read_settings()
    try:
        with open_syncer(settings, is_full_refresh=full_refresh, is_loss_known=accept_missing) as syncer:
            if follow:
                syncer.follow(click.echo, is_first_load_needed=full_refresh)
            else:
                syncer.run(click.echo)
    except KeyboardInterrupt:
        fail("Stopped. The next sync does the rest.", 0 if follow else EXIT_FAILED)
