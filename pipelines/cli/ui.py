"""`verbex-sync ui`."""

import click

from pipelines.cli.common import ENV_FILE, make_data_folder, read_settings


@click.command(epilog="Example: verbex-sync ui --port 3001 --read-only")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Where people open it, if a proxy is in front: https://dagster.example.com",
)
@click.option("--read-only", is_flag=True, help="Let people look, but start and change nothing.")
def ui(host: str, port: int, origins: tuple[str, ...], *, read_only: bool) -> None:
    """Open Dagster's UI on the tables and their history, and start what is due by itself.

    The UI has no login. Pages of other sites that are open in the same browser can't use it.
    """
    settings = read_settings()
    make_data_folder(settings)
    from pipelines.ui.webserver import serve_ui  # it takes seconds, and mistakes are named before

    try:
        serve_ui(
            settings.data_dir,
            ENV_FILE,
            host=host,
            port=port,
            origins=origins,
            is_read_only=read_only,
            echo=click.echo,
        )
    except KeyboardInterrupt:
        click.echo("Stopped.")
