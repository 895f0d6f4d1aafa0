"""`verbex-sync live`."""

import click

from pipelines.cli.common import read_settings


@click.command(epilog="Example: verbex-sync live --port 8090")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--show-numbers", is_flag=True, help="Show phone numbers whole, not only their last four digits."
)
def live(host: str, port: int, *, show_numbers: bool) -> None:
    """Show on a web page what happens now: calls, analyses, and what needs somebody.

    It reads the published tables and can change nothing. Other machines reach it only if VERBEX_LIVE_TOKEN or
    VERBEX_LIVE_PROXIES says who may look.
    """
    settings = read_settings()
    from pipelines.live.server import serve_live  # mistakes in settings are named before

    serve_live(settings, host=host, port=port, has_numbers=show_numbers, echo=click.echo)
