"""The way of the data on this machine: journal, landing, tables, and who is writing them."""

from collections.abc import Iterator
from datetime import datetime

from connector.landing.zones import ZONES
from connector.system.counts import counted
from pipelines.doctor.finding import Finding
from pipelines.warehouse.data_folder import DataFolder
from pipelines.warehouse.files import NothingPublishedError
from pipelines.warehouse.intake import explain_copied_days, list_new_files


def look_at_journal(folder: DataFolder) -> Iterator[Finding]:
    """Yield whether the receiver kept damaged segments aside."""
    damaged = folder.damaged_segments()
    if damaged:
        found = f"{counted(len(damaged), 'damaged segment')} kept aside, such as {damaged[0]}."
        yield Finding("problem", "journal", f"{found} What could be read has landed; look at the disk.")
    else:
        yield Finding("ok", "journal", "No damaged segment.")


def look_at_landing(folder: DataFolder) -> Iterator[Finding]:
    """Yield whether landing can be listed, and what in it nothing reads."""
    days = {day.rpartition("/")[2] for zone in ZONES for day in folder.landing.list_stored([zone])}
    yield Finding("ok", "landing", f"{folder.landing.url}, {counted(len(days), 'day')}")
    for path, why in explain_copied_days(folder.landing).items():
        yield Finding("note", "landing", f"{path}: {why}")


def look_at_tables(folder: DataFolder, now: datetime) -> Iterator[Finding]:
    """Yield how old the published tables are, what they lack, and files of SQL that can't be used."""
    unusable = [each.problem for each in folder.sql.unusable]
    for problem in (*unusable, *(model.problem for model in folder.models if model.problem)):
        yield Finding("problem", "SQL", problem)
    try:
        status = folder.status()
    except NothingPublishedError as error:
        yield Finding("note", "tables", str(error))
        return
    waiting = list_new_files(folder, folder.models)
    found = f"{counted(int(str(status['calls'])), 'call')}{_published(status['published_at'], now)}"
    if folder.warehouse.is_being_written():
        yield Finding("ok", "tables", f"{found}. A process is writing them now.")
    elif waiting:
        found += f", and {counted(len(waiting), 'landed file')} not loaded. Run `verbex-sync sync --follow`."
        yield Finding("note", "tables", found)
    else:
        yield Finding("ok", "tables", found)


def _published(at: object, now: datetime) -> str:
    if not isinstance(at, datetime):
        return ""
    return f", published {at:%Y-%m-%d %H:%M} UTC, {(now - at).total_seconds() / 60:.0f} minutes ago"
