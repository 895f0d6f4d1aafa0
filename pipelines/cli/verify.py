"""`verbex-sync verify`: our tables against Verbex's own list, or against a rebuild from landing."""

from datetime import datetime

import click

from connector.errors import EXIT_FAILED, EXIT_USAGE
from connector.system.counts import counted
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.days import DAY, agent_option, lately, open_sweeping_syncer, read_span
from pipelines.cli.output import Format, brief, show
from pipelines.cli.words import fail
from pipelines.enrichment.span import Span
from pipelines.reconciliation.comparison import Comparison
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.data_folder import DataFolder, Rows


@click.command(epilog="Example: verbex-sync verify --since 2025-11-01 --until 2025-11-07")
@click.option("--rebuild", is_flag=True, help="Compare with a rebuild from landing instead.")
@click.option("--since", type=DAY, help="First day to compare. [default: yesterday]")
@click.option("--until", type=DAY, help="Last day to compare. [default: today]")
@agent_option
@format_option
def verify(
    *,
    rebuild: bool,
    since: datetime | None,
    until: datetime | None,
    agents: tuple[str, ...],
    form: Format,
) -> None:
    """Check that the tables agree with Verbex's own list of calls. The exit code is 1 if they do not."""
    if not rebuild:
        _verify_with_verbex(read_span(since, until, agents, default=lately()), form)
    elif since or until or agents:
        fail("--rebuild compares everything. Leave out --since, --until and --agent.", EXIT_USAGE)
    else:
        _verify_with_rebuild(form)


def _verify_with_verbex(span: Span, form: Format) -> None:
    with open_sweeping_syncer("Listing days") as syncer:
        found = syncer.verify(span)
    if form == "table":
        click.echo(_summed_up(found))
        for title, table in (("Calls that differ", found.drift), ("Completeness by day", found.completeness)):
            if table.rows:
                show(table.columns, [tuple(map(brief, row)) for row in table.rows], form, title=title)
    else:
        show(found.drift.columns, found.drift.rows, form)
    if found.settled.rows:
        differing = len(_calls(found.settled))
        calls = f"{counted(differing, 'call')} {'differs' if differing == 1 else 'differ'}"
        fix = f"Run `verbex-sync backfill --since {span.since} --until {span.until}` to repair what it can."
        fail(f"{calls} from what Verbex lists. {fix}", EXIT_FAILED)


def _summed_up(found: Comparison) -> str:
    """Return the counts of calls in a sentence. A call differs, or is in flight, or agrees."""
    here, there, both = (found.completeness.total(f"calls_{side}") for side in ("here", "there", "both"))
    compared, unequal, differing = here + there - both, len(_calls(found.drift)), len(_calls(found.settled))
    parts = [f"{counted(compared, 'call')} compared", f"{compared - unequal:,} agree"]
    parts += [f"{differing:,} differ"] if differing else []
    parts += [f"{unequal - differing:,} in flight"] if unequal > differing else []
    return ", ".join(parts)


def _calls(rows: Rows) -> set[object]:
    return set(rows.column("call_id"))


def _verify_with_rebuild(form: Format) -> None:
    found = list(compare_with_rebuild(DataFolder.from_settings(read_settings())))
    columns = ["table", "rows", "published_only", "rebuilt_only", "differing_keys"]
    rows = [(d.table, d.row_count, d.published_only, d.rebuilt_only, list(d.keys)) for d in found]
    show(columns, rows, form)
    if not all(difference.is_equal for difference in found):
        fail(
            "The published tables differ from a rebuild. Run `verbex-sync sync --full-refresh` to fix them.",
            EXIT_FAILED,
        )
