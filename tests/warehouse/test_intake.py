"""Which landed files are still to be taken in, found without looking at days that are done."""

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
    """What the published events lack."""
    with folder.warehouse.read() as connection:
        return find_new_files(connection, folder.landing, EVENTS, ["events", "quarantine"])


def landed(tmp_path: Path) -> DataFolder:
    """A folder with files on three days, all taken in."""
    folder = DataFolder(tmp_path)
    for number, body in enumerate(bodies_of(World.build(calls=3))):
        folder.land([body], received_at_us=NOON_US + number % 3 * DAY_US)
    folder.sync()
    return folder


def test_days_that_are_taken_in_are_not_looked_at_again(tmp_path: Path) -> None:
    """Neither their files nor their names are asked for."""
    assert intake(landed(tmp_path)) == NewFiles((), {})


def test_a_late_file_of_an_old_day_is_found_alone(tmp_path: Path) -> None:
    """A receiver that was down for days lands into the days on which it received."""
    folder = landed(tmp_path)
    folder.land(bodies_of(World.build(calls=1)), received_at_us=NOON_US)
    found = intake(folder)
    assert len(found.files) == len(found.marks) == 1
    folder.sync()
    assert intake(folder) == NewFiles((), {})


def test_a_file_that_one_of_two_tables_took_in_is_still_to_be_taken_in(tmp_path: Path) -> None:
    """As when somebody materialised a single table: the sensor must see what the other lacks."""
    folder = landed(tmp_path)
    folder.land(bodies_of(World.build(calls=1)), received_at_us=NOON_US)
    with open_session(folder) as session:
        session.update(next(model for model in session.models if model.table == "quarantine"))
        session.publish(NOON)
    assert len(intake(folder).files) == 1


def test_a_day_with_a_file_that_cannot_be_read_stays_open(tmp_path: Path) -> None:
    """So that the file is taken in once it is mended."""
    folder = landed(tmp_path)
    (tmp_path / "landing" / "date=2025-11-09" / "broken.parquet").write_bytes(b"no Parquet")
    folder.sync()
    assert [file.path for file in intake(folder).files] == ["date=2025-11-09/broken.parquet"]


def test_merging_a_days_files_brings_nothing_new(tmp_path: Path) -> None:
    """The folder looks otherwise, and holds what was taken in before."""
    folder = landed(tmp_path)
    compact(folder.landing, EVENTS, before=date(2030, 1, 1))
    assert intake(folder).files == ()
    assert len(intake(folder).marks) == 3
    folder.sync()
    assert intake(folder).marks == {}
