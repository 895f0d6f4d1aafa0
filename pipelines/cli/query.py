"""`verbex-sync query`."""

import sys

import click
import duckdb

from connector.errors import EXIT_USAGE
from pipelines.cli.common import fail, format_option, read_settings
from pipelines.cli.output import Format, show
from pipelines.warehouse.data_folder import DataFolder


@click.command()
@click.argument("sql")
@click.option("--allow-files", is_flag=True, help="Let the SQL read and write files, as `copy` does.")
@format_option
def query(sql: str, *, allow_files: bool, form: Format) -> None:
    """Run SQL on the published tables, read-only. With `-`, read it from standard input."""
    statement = sys.stdin.read() if sql == "-" else sql
    try:
        with DataFolder.from_settings(read_settings()).read() as connection:
            if not allow_files:
                connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
            result = connection.execute(statement)
            if result is None:
                fail("There is no SQL statement in what was typed.", EXIT_USAGE)
            show([name for name, *_ in result.description or ()], result.fetchall(), form)
    except duckdb.Error as error:
        fail(str(error), EXIT_USAGE)
