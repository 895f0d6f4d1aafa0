"""A landing that is not the one we loaded is an error that names what is missing, and changes no number."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from support.command import Run
from support.data_folder import NOON, NOON_US, DataFolder, body
from support.oracle import STARTED

from connector.landing.zones import PCA
from pipelines.reconciliation.rebuild import compare_with_rebuild
from pipelines.warehouse.intake import MissingFilesError
from pipelines.warehouse.session import open_session

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of events and an answer, loaded into several warehouse files."""
    made = DataFolder(tmp_path_factory.mktemp("loaded"))
    for number in range(3):
        land(made, number)
        made.sync()
    made.land_answers(PCA, [{"call_id": "call-0", "outcome": "failed"}])
    made.sync()
    return made.path


@pytest.fixture
def folder(loaded: Path, tmp_path: Path) -> DataFolder:
    """A copy of that folder, to lose files of."""
    shutil.copytree(loaded, tmp_path / "data", symlinks=True)
    return DataFolder(tmp_path / "data")


def land(folder: DataFolder, number: int) -> None:
    event = body(f"trace-{number}", STARTED, f"call-{number}", 0)
    folder.land([event], received_at_us=NOON_US + number % 2 * DAY_US)


def lose_all(landing: Path) -> None:
    shutil.rmtree(landing)


def lose_a_day(landing: Path) -> None:
    shutil.rmtree(min(landing.glob("date=*")))


def lose_a_file(landing: Path) -> None:
    next(landing.glob("date=*/*.parquet")).unlink()


def lose_an_answer(landing: Path) -> None:
    next(landing.glob("pca/date=*/*.parquet")).unlink()


def spoil_a_file(landing: Path) -> None:
    path = max(landing.glob("date=*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:200])


def go_elsewhere(landing: Path) -> None:
    shutil.rmtree(landing)
    land(DataFolder(landing.parent), 9)


@pytest.mark.parametrize("lose", [lose_all, lose_a_day, lose_a_file, lose_an_answer, go_elsewhere])
@pytest.mark.parametrize("is_full_refresh", [False, True])
def test_what_is_missing_is_named_and_nothing_is_published(
    folder: DataFolder, lose: Callable[[Path], None], *, is_full_refresh: bool
) -> None:
    """A disk that is not mounted, a mistyped URL, an older backup, a folder that was deleted."""
    before = folder.tables()
    lose(folder.path / "landing")
    for _ in range(4):
        with pytest.raises(MissingFilesError, match=r"lacks \d landed files .*date=2025-11-"):
            DataFolder(folder.path).sync(is_full_refresh=is_full_refresh)
        land(DataFolder(folder.path), 20)
    assert folder.tables() == before


def test_what_is_restored_is_published_again(folder: DataFolder, tmp_path: Path) -> None:
    """Nothing was forgotten meanwhile, and nothing needs to be typed."""
    (folder.path / "landing").rename(tmp_path / "away")
    with pytest.raises(MissingFilesError):
        DataFolder(folder.path).sync()
    (tmp_path / "away").rename(folder.path / "landing")
    land(folder, 3)
    folder.sync()
    assert folder.rows("select count(*) from calls") == [(4,)]


def test_a_loss_that_is_known_is_built_without(folder: DataFolder) -> None:
    """Every file that takes its turn afterwards agrees."""
    lose_a_day(folder.path / "landing")
    folder.sync(is_full_refresh=True, is_loss_known=True)
    for _ in range(3):
        folder.sync()
        assert [found for found in compare_with_rebuild(folder) if not found.is_equal] == []
    assert folder.rows("select count(*) from calls") == [(1,)]


def test_a_sync_of_a_landing_that_is_away_fails_and_says_how_to_go_on(run: Run, folder: DataFolder) -> None:
    """Exit code 1; the command that it names works."""
    lose_a_file(folder.path / "landing")
    done = run("sync")
    assert done.returncode == 1
    assert "lacks 1 landed files" in done.stderr
    assert "--full-refresh --accept-missing" in done.stderr
    done = run("sync", "--full-refresh", "--accept-missing")
    assert done.returncode == 0, done.stderr
    assert run("sync", "--accept-missing").returncode == 2


def test_what_readers_have_seen_does_not_disappear_because_it_can_not_be_read(folder: DataFolder) -> None:
    """Files that loaded it before and files that did not would else publish other numbers in turn."""
    land(folder, 3)
    folder.sync()
    spoil_a_file(folder.path / "landing")
    counts = []
    for number in range(4, 8):
        land(folder, number)
        with suppress(MissingFilesError):
            DataFolder(folder.path).sync()
        counts += folder.rows("select count(*) from calls")
    assert counts == sorted(counts)
    assert counts[0] >= (4,)


def test_a_refresh_begins_from_nothing_also_after_one_that_was_stopped(folder: DataFolder) -> None:
    """What the first had built may hold the very rows that the second is to do without."""
    with open_session(folder, is_full_refresh=True) as session:
        for model in session.models:
            session.update(model)  # and then it ends without a publish
    lose_a_day(folder.path / "landing")
    folder.sync(is_full_refresh=True, is_loss_known=True)
    folder.sync()
    assert folder.rows("select count(*) from calls") == [(1,)]


def test_a_run_of_some_tables_notices_what_the_others_lost(folder: DataFolder) -> None:
    """A zone may be quiet for days."""
    lose_an_answer(folder.path / "landing")
    (events,) = [model for model in folder.models if model.table == "events"]
    with open_session(folder) as session:
        session.update(events)
        with pytest.raises(MissingFilesError):
            session.publish(NOON)


@pytest.mark.parametrize("fault", ["damaged", "gone", "not ours"])
@pytest.mark.parametrize("is_full_refresh", [False, True])
def test_a_loss_is_seen_without_the_published_file(
    folder: DataFolder, fault: str, *, is_full_refresh: bool
) -> None:
    """The other warehouse files know too what was loaded."""
    published = folder.warehouse.published
    if fault == "gone":
        published.unlink()
    else:
        published.resolve().chmod(0o644)
    if fault == "damaged":
        os.truncate(published.resolve(), 5000)
    elif fault == "not ours":
        with duckdb.connect(str(published.resolve())) as connection:
            connection.execute("drop table ops.days")
    lose_a_day(folder.path / "landing")
    with pytest.raises(MissingFilesError):
        folder.sync(is_full_refresh=is_full_refresh)


def test_status_counts_what_is_missing(run: Run, folder: DataFolder) -> None:
    """It is what a person types first."""
    lose_a_file(folder.path / "landing")
    done = run("status", "--format", "json")
    assert json.loads(done.stdout)["landed_files_missing"] == 1
