"""`verbex-sync status`: the published facts, and what is newer than the published tables."""

from pathlib import Path

import click

from connector.journal.segment import SEGMENT_SUFFIX
from pipelines.cli.common import format_option, read_settings
from pipelines.cli.output import Format, brief, show
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.intake import MissingFilesError, count_passed_over, list_new_files


@click.command(epilog="Example: verbex-sync status --format json")
@format_option
def status(form: Format) -> None:
    """Show what the tables hold, how new that is, and what is not loaded yet."""
    facts = _read_status(DataFolder.from_settings(read_settings()))
    if form == "table":
        show(["fact", "value"], [(name, brief(value)) for name, value in facts.items()], form)
    else:
        show(list(facts), [tuple(facts.values())], form)


def _read_status(folder: DataFolder) -> dict[str, object]:
    """Read the facts by name, those of the table `pipeline_status` first. Times are UTC."""
    new_files = missing_files = 0
    try:
        new_files = len(list_new_files(folder, folder.models))
    except MissingFilesError as error:
        missing_files = len(error.paths)
    return {
        **folder.status(),
        "landed_files_to_load": new_files,
        "landed_files_missing": missing_files,
        "landed_files_passed_over": count_passed_over(folder),
        "journal_segments_damaged": len(folder.damaged_segments()),
        "journal_bytes": sum(path.stat().st_size for path in _segments(folder.path)),
    }


def _segments(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "journal").rglob(f"*{SEGMENT_SUFFIX}") if path.is_file()]
