"""Finding the landed files that are not loaded yet, without comparing days that are done."""

from datetime import date
from pathlib import Path

from support.data_folder import NOON, NOON_US, DataFolder, bodies_of

from connector.landing.compaction import compact
from connector.landing.zones import EVENTS
from connector.simulator.world import World
from pipelines.warehouse.intake import NewFiles, find_new_files
from pipelines.warehouse.session import open_session

DAY_US = 86_400_000_000


def intake(folder: DataFolder) -> NewFiles:
    """Return what the published events lack."""
    with folder.warehouse.read() as connection:
        return find_new_files(connection, folder.landing, EVENTS, ["events", "quarantine"])


def landed(tmp_path: Path) -> DataFolder:
    """Make a folder with files on three days, all of them loaded."""
    folder = DataFolder(tmp_path)
    for number, body in enumerate(bodies_of(World.build(calls=3))):
        folder.land([body], received_at_us=NOON_US + number % 3 * DAY_US)
    folder.sync()
    return folder


def test_days_that_are_loaded_are_skipped(tmp_path: Path) -> None:
    """They have neither new files nor new marks."""
    assert intake(landed(tmp_path)) == NewFiles((), {})


def test_a_late_file_of_an_old_day_is_found_alone(tmp_path: Path) -> None:
    """A receiver that was down lands its events into the days of their receipt."""
    folder = landed(tmp_path)
    folder.land(bodies_of(World.build(calls=1)), received_at_us=NOON_US)
    found = intake(folder)
    assert len(found.files) == len(found.marks) == 1
    folder.sync()
    assert intake(folder) == NewFiles((), {})


def test_a_file_that_only_one_of_two_tables_has_loaded_is_still_new(tmp_path: Path) -> None:
    """If a user materialises a single table, the sensor must find what the other one lacks."""
    folder = landed(tmp_path)
    folder.land(bodies_of(World.build(calls=1)), received_at_us=NOON_US)
    with open_session(folder) as session:
        session.update(next(model for model in session.models if model.table == "quarantine"))
        session.publish(NOON)
    assert len(intake(folder).files) == 1


def test_a_day_with_a_file_that_cannot_be_read_stays_open(tmp_path: Path) -> None:
    """So the file is loaded once it is repaired."""
    folder = landed(tmp_path)
    (tmp_path / "landing" / "date=2025-11-09" / "broken.parquet").write_bytes(b"no Parquet")
    folder.sync()
    assert [file.path for file in intake(folder).files] == ["date=2025-11-09/broken.parquet"]


def test_merging_a_days_files_brings_nothing_new(tmp_path: Path) -> None:
    """The folder has other files, with the rows that were loaded before."""
    folder = landed(tmp_path)
    compact(folder.landing, EVENTS, before=date(2030, 1, 1))
    assert intake(folder).files == ()
    assert len(intake(folder).marks) == 2 * 3  # of three days, and of the merged file in each
    folder.sync()
    assert intake(folder).marks == {}
