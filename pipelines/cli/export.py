"""`verbex-sync export`: the tables into other systems, how far these are, and whether they are equal."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE, OperatorError
from connector.system.counts import counted
from connector.system.lock import PATIENCE_S
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.output import Format, show
from pipelines.cli.superset import write_dashboard
from pipelines.cli.words import fail, warn
from pipelines.exports.address import Address
from pipelines.exports.export import export as export_tables
from pipelines.exports.export import find_standing
from pipelines.exports.export import verify as verify_tables
from pipelines.exports.target import Difference
from pipelines.warehouse.data_folder import DataFolder

_NAMED_KEYS = 5


@click.command(epilog="Example: verbex-sync export --to postgresql://bi@db.example.com/analytics")
@click.option(
    "--to", "targets", metavar="TARGET", multiple=True, help="A target; else those of VERBEX_EXPORTS."
)
@click.option("--tables", metavar="A,B", default="", help="Only these tables.")
@click.option("--full-refresh", is_flag=True, help="Compare whole tables, and put right what differs.")
@click.option("--status", is_flag=True, help="Show how far the targets are, and export nothing.")
@click.option("--verify", is_flag=True, help="Compare every row, and export nothing.")
@click.option(
    "--superset",
    metavar="FILE.zip",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a dashboard for Apache Superset on the target of --to, else on the DuckDB file.",
)
@format_option
def export(
    *,
    targets: Sequence[str],
    tables: str,
    full_refresh: bool,
    status: bool,
    verify: bool,
    superset: Path | None,
    form: Format,
) -> None:
    """Bring targets to what is published: only what changed is sent."""
    if sum((full_refresh, status, verify, superset is not None)) > 1:
        fail(
            "Type one of --full-refresh, --status, --verify and --superset: they are different work.",
            EXIT_USAGE,
        )
    settings = read_settings()
    folder = DataFolder.from_settings(settings)
    if superset is not None:
        if tables:
            fail("--tables is for exports: a dashboard reads three tables.", EXIT_USAGE)
        write_dashboard(superset, folder, targets)
        return
    urls = list(dict.fromkeys(targets or (each.get_secret_value() for each in settings.exports)))
    if not urls:
        fail("There is no target. Name one with --to, or set VERBEX_EXPORTS.", EXIT_USAGE)
    names = [name.strip() for name in tables.split(",") if name.strip()]
    if status:
        show(*_statuses(folder, urls), form, title="exports")
    elif verify:
        _verify(folder, urls, names, form)
    else:
        _for_each(urls, lambda url: _export(folder, url, names, is_full_refresh=full_refresh))


def _export(folder: DataFolder, url: str, names: Sequence[str], *, is_full_refresh: bool) -> None:
    done = export_tables(folder, url, tables=names, is_full_refresh=is_full_refresh, wait_s=PATIENCE_S)
    click.echo(
        f"{Address(url)} stands at publish {done.publish.number}: "
        f"{counted(done.rows_written, 'row')} written, "
        f"{counted(done.rows_deleted, 'row')} deleted in {counted(len(done.tables), 'table')} "
        f"({done.duration_s:.1f} s)"
    )


def _for_each(urls: Sequence[str], work: Callable[[str], None]) -> None:
    """Do the work for each target. One that fails is named, and ends the command with 1 in the end."""
    failed: list[OperatorError] = []
    for url in urls:
        try:
            work(url)
        except OperatorError as error:
            failed.append(error)
            warn(str(error))
    if failed:
        raise SystemExit(max(error.exit_code for error in failed))


def _statuses(folder: DataFolder, urls: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    columns = ["target", "tables", "publish", "published", "publishes_behind", "lag_s", "problem"]
    rows: list[list[object]] = []
    for url in urls:
        row: list[object] = [str(Address(url))]
        try:
            found = find_standing(folder, url, wait_s=PATIENCE_S)
        except OperatorError as error:
            rows.append([*row, None, None, None, None, None, str(error)])
            continue
        problem = None if found.publish else "The next export compares whole tables."
        number = found.publish.number if found.publish else None
        behind, lag_s = found.publishes_behind, found.lag_s
        rows.append([*row, found.tables, number, found.newest.number, behind, lag_s, problem])
    return columns, rows


def _verify(folder: DataFolder, urls: Sequence[str], names: Sequence[str], form: Format) -> None:
    differ: list[Difference] = []

    def compare(url: str) -> None:
        found = list(verify_tables(folder, url, tables=names, sample=_NAMED_KEYS, wait_s=PATIENCE_S))
        differ.extend(each for each in found if not each.is_equal)
        columns = ["table", "rows", "differ", "missing", "surplus", "some_keys"]
        rows = [_row(each) for each in found]
        show(columns, rows, form, title=str(Address(url)))

    _for_each(urls, compare)
    if differ:
        tables = ", ".join(sorted({each.table for each in differ}))
        fail(
            f"The target differs in {tables}. Run `verbex-sync export` and compare again. What still differs "
            "was changed there: `verbex-sync export --full-refresh` puts it right.",
            EXIT_FAILED,
        )


def _row(found: Difference) -> list[object]:
    keys = "; ".join(", ".join(map(str, key)) for key in found.keys)
    return [found.table, found.row_count, found.differing, found.missing, found.surplus, keys]
