"""`verbex-sync serve`."""

import sys

import click

from connector.serve import serve as run
from pipelines.cli.common import read_settings


@click.command()
@click.option("--host", help="Address to listen on. [VERBEX_HOST]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. [VERBEX_PORT]")
def serve(host: str | None, port: int | None) -> None:
    """Receive webhooks and store them durably, until stopped by SIGTERM or Ctrl-C."""
    sys.exit(run(read_settings(host=host, port=port)))
