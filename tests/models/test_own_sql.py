"""A customer's own folder of SQL beside the one that came with verbex-sync."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import Run
from support.data_folder import DataFolder

from connector.settings import Settings
from pipelines.models.sql_file import ModelError
from pipelines.warehouse import data_folder

Write = Callable[[str, str], Path]

OWN = {
    "functions/weekly.sql": "-- The Monday of a day.\n--\n-- parameters: day\ndate_trunc('week', day)",
    "marts/calls_weekly.sql": (
        "-- One row for each week.\n--\n-- grain: week\n-- columns:\n"
        "--   week date: its Monday\n--   calls bigint: calls that began in it [count]\n"
        "select weekly(started_at)::date as week, count(*) as calls from calls group by week"
    ),
    "checks/busy_weeks.sql": "-- A week.\n--\n-- on: calls_weekly\n-- severity: warn\nfrom calls_weekly",
    "checks/short_calls.sql": "-- A.\n--\n-- on: calls\n-- severity: warn\nfrom calls where duration_s < 1",
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The customer's folder."""
    return tmp_path / "own"


@pytest.fixture
def folder(tmp_path: Path, own: Path) -> data_folder.DataFolder:
    """A data folder as the settings describe it."""
    own.mkdir()
    return data_folder.DataFolder.from_settings(
        Settings(_env_file=None, data_dir=tmp_path / "data", sql_dir=own)
    )


@pytest.fixture
def write(own: Path) -> Write:
    """Return a function that writes a file into the customer's folder."""

    def write(name: str, text: str) -> Path:
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load(folder: data_folder.DataFolder) -> None:
    """Load all files."""
    assert folder.models
    assert folder.sql.checks
    assert folder.questions


def test_own_marts_functions_and_checks_stand_beside_ours(
    folder: data_folder.DataFolder, write: Write
) -> None:
    """They read our tables, call own functions, and are checked by own checks."""
    ours = {model.table for model in folder.models}, {check.name for check in folder.sql.checks}
    for name, text in OWN.items():
        write(name, text)
    assert {model.table for model in folder.models} - ours[0] == {"calls_weekly"}
    assert {check.name for check in folder.sql.checks} - ours[1] == {"busy_weeks", "short_calls"}


def test_a_sync_makes_them_and_names_those_that_fail_by_their_path(
    run: Run, tmp_path: Path, own: Path, write: Write
) -> None:
    """`VERBEX_SQL_DIR` may be relative to where the command is typed. Nothing waits for what fails."""
    for name, text in OWN.items():
        write(name, text)
    broken = write("my 営業/broken.sql", "select no_such_column from calls")
    body = json.dumps({"traceId": "t1", "event": "call_started", "callId": "a"}).encode()
    DataFolder(tmp_path / "data").land([body])
    done = run("sync", VERBEX_SQL_DIR=own.name)
    assert done.returncode == 1
    assert f"{broken} failed" in done.stderr
    shown = run("query", "select count(*) as weeks from calls_weekly", "--format", "json")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("marts/agent_daily.sql", "marts/agent_daily.sql"),
        ("core/agent_daily.sql", "marts/agent_daily.sql"),
        ("marts/calls.sql", "core/calls.sql"),
        ("checks/ends_before_start.sql", "checks/ends_before_start.sql"),
        ("functions/call_hash.sql", "functions/call_hash.sql"),
        ("questions/containment.sql", "questions/containment.sql"),
    ],
)
def test_a_file_with_the_name_of_one_of_ours_is_refused(
    folder: data_folder.DataFolder, write: Write, name: str, ours: str
) -> None:
    """Ours would change its meaning for all that reads it; the error names both files."""
    path = write(name, (folder.sql_dir / ours).read_text(encoding="utf-8"))
    with pytest.raises(ModelError, match="Rename one of them") as refused:
        load(folder)
    assert str(path) in str(refused.value)
    assert str(folder.sql_dir / ours) in str(refused.value)


@pytest.mark.parametrize("name", ["mine.sql", "queries/mine.sql", "marts/deeper/mine.sql", "marts/mine.SQL"])
def test_a_file_that_would_not_be_read_is_refused(
    folder: data_folder.DataFolder, write: Write, name: str
) -> None:
    """As in our own folder, nothing is left out in silence."""
    path = write(name, "select 1 as one")
    problems = [*(model.problem for model in folder.models), *(each.problem for each in folder.sql.unusable)]
    assert [str(path) in problem for problem in problems if problem] == [True]


def test_a_folder_that_is_not_there_is_refused(folder: data_folder.DataFolder, own: Path) -> None:
    """A disk that is not mounted must not drop the tables that its files made."""
    own.rmdir()
    with pytest.raises(ModelError, match=f"VERBEX_SQL_DIR names {own}, which is no folder"):
        load(folder)


def test_lists_in_seeds_are_no_sql(folder: data_folder.DataFolder, write: Write) -> None:
    """The folder holds CSV and makes no table. SQL in it would have no effect, so it is named."""
    write("seeds/do_not_call.csv", "number\n+819012345678\n")
    load(folder)
    assert not folder.sql.unusable
    assert "do_not_call" not in {model.name for model in folder.models}
    for name in ("seeds/misplaced.sql", "seeds/deeper/lost.SQL"):
        path = write(name, OWN["marts/calls_weekly.sql"])
        (problem,) = [model.problem for model in folder.models if model.name == path.stem]
        assert str(path) in problem
        assert "`sql/marts/`" in problem
