"""`verbex-sync serve`."""

import sys

import click

from connector.errors import EXIT_USAGE
from connector.serve import serve as run
from connector.system.files import make_folder
from pipelines.cli.common import read_settings
from pipelines.cli.demo_mark import is_demo
from pipelines.cli.words import fail


@click.command(epilog="Example: verbex-sync serve --host 0.0.0.0 --port 8443")
@click.option("--host", help="Address to listen on. [VERBEX_HOST]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. [VERBEX_PORT]")
def serve(host: str | None, port: int | None) -> None:
    """Receive webhooks and store them durably, until stopped by SIGTERM or Ctrl-C."""
    settings = read_settings(host=host, port=port)
    if is_demo(settings.data_dir):
        fail(
            f"{settings.data_dir} holds the calls of a demo, and real events must not mix with them. "
            "Remove that folder, or set VERBEX_DATA_DIR to another one.",
            EXIT_USAGE,
        )
    make_folder(settings.data_dir)
    try:
        sys.exit(run(settings))
    except KeyboardInterrupt:  # before the receiver handles signals itself
        sys.exit(0)
