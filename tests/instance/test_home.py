"""Dagster's home follows the data folder, wherever that is moved or copied, and whatever its path is."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from pipelines.instance.home import EVENT_LOG, ensure_home, make_home, open_instance

OPEN_AT_ONCE = """
import sys
from pathlib import Path
from pipelines.instance.home import open_instance

print("ready", flush=True)
sys.stdin.readline()
with open_instance(Path(sys.argv[1], "data"), Path(sys.argv[1], ".env")) as instance:
    assert not instance.is_ephemeral
"""


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no home be set, and let what is set in a test be gone after it."""
    monkeypatch.setenv("DAGSTER_HOME", "")


def record_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Record an asset in a project's home, and return all assets that are recorded there."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_instance(project / "data", project / ".env") as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(project.name)))
        assert not instance.is_ephemeral
        return {key.to_user_string() for key in instance.get_asset_keys()}


@pytest.mark.parametrize("has_env", [False, True])
def test_a_moved_project_keeps_its_records_and_makes_nothing_at_the_old_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_env: bool
) -> None:
    """An earlier version remembered the absolute path in `.env`."""
    if has_env:
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / ".env").write_text(f"DAGSTER_HOME={tmp_path}/old/data/dagster\n")
    record_in(tmp_path / "old", monkeypatch)
    (tmp_path / "old").rename(tmp_path / "new")
    assert record_in(tmp_path / "new", monkeypatch) == {"old", "new"}
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("has_env", [False, True])
def test_a_copied_project_never_writes_into_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_env: bool
) -> None:
    """Each has the records of its own runs."""
    if has_env:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / ".env").write_text(f"DAGSTER_HOME={tmp_path}/first/data/dagster\n")
    record_in(tmp_path / "first", monkeypatch)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    record_in(tmp_path / "second", monkeypatch)
    assert "second" not in record_in(tmp_path / "first", monkeypatch)


@pytest.mark.parametrize("name", ["My Project #1", "a: b", "tab\there", "'x' \"y\"", "{z}", "日本", "🎉\n\\"])
def test_a_path_may_be_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What means something in YAML is only a name here."""
    record_in(tmp_path / name, monkeypatch)
    assert (tmp_path / name / "data" / "dagster" / EVENT_LOG).exists()


@pytest.mark.parametrize("name", ["%41", "what?", "[1]", "*"])
def test_a_path_that_dagster_misreads_is_named_and_costs_the_records_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Dagster would write to another place, or use another configuration."""
    with open_instance(tmp_path / name / "data", tmp_path / ".env") as instance:
        assert instance.is_ephemeral
    assert "misreads the characters" in caplog.text
    assert list(tmp_path.rglob("*.db")) == []


def test_a_home_that_a_person_has_set_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `.env`, or in the environment, which wins."""
    (tmp_path / ".env").write_text(f"DAGSTER_HOME={tmp_path}/mine\n")
    assert ensure_home(tmp_path / "data", tmp_path / ".env") == tmp_path / "mine"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "theirs"))
    assert ensure_home(tmp_path / "data", tmp_path / ".env") == tmp_path / "theirs"


def test_several_that_make_a_home_at_once_make_one_that_can_be_used(tmp_path: Path) -> None:
    """As on the first day, when `ui`, `sync --follow` and a `sync` by cron start together."""
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"now\n")
        process.stdin.flush()
    for process in started:
        process.communicate()
    assert [process.returncode for process in started] == [0, 0, 0, 0]
    databases = [path for path in (tmp_path / "data" / "dagster").rglob("*.db") if path.stat().st_size]
    assert len(databases) >= 3
    for database in databases:
        with closing(sqlite3.connect(database)) as connection:
            ((versions,),) = connection.execute("select count(*) from alembic_version").fetchall()
        assert versions <= 1  # Dagster refuses a database with two


def test_a_home_of_an_earlier_version_prints_less_too(tmp_path: Path) -> None:
    """And only one that we made: in any other, nothing is changed."""
    make_home(tmp_path / "made")
    config = tmp_path / "made" / "dagster.yaml"
    text = config.read_text()
    earlier = text.partition("python_logs:")[0]
    assert earlier != text
    config.write_text(earlier)
    make_home(tmp_path / "made")
    assert config.read_text() == text
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    make_home(tmp_path / "own")
    assert "python_logs" not in (tmp_path / "own" / "dagster.yaml").read_text()
