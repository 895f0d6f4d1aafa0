"""`verbex-sync export --superset`: a dashboard for Apache Superset, on a target or on the DuckDB file.

What it says belongs here. What is in the bundle does not: see `pipelines.exports.superset`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from connector.errors import EXIT_USAGE
from pipelines.cli.words import fail
from pipelines.exports.address import Address
from pipelines.exports.superset import write_bundle
from pipelines.exports.superset_database import duckdb_file, postgresql_database
from pipelines.warehouse.data_folder import DataFolder


def write_dashboard(path: Path, folder: DataFolder, urls: Sequence[str]) -> None:
    """Write a bundle for the database that was typed, else for the published file, and say what comes next.

    Raises:
        OperatorError: There is no such database, or the file can't be written.
    """
    if len(urls) > 1:
        fail("A dashboard reads one database: type --to once.", EXIT_USAGE)
    database = postgresql_database(Address(urls[0])) if urls else duckdb_file(folder.warehouse.published)
    charts = write_bundle(path, database, folder.models)
    click.echo(
        f"{path} holds a dashboard of {charts} charts on {database.title}. Import it in Superset: "
        "Dashboards, then the arrow at the top right."
    )
