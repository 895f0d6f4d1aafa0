"""`init`: a project that works as it was written, and that is never written over."""

import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values
from support.command import Run
from support.data_folder import DataFolder

from connector.settings import Settings
from pipelines.models.sql_file import sql_folder


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_project_works_as_it_was_written(run: Run, tmp_path: Path) -> None:
    """Its example is a table after the first sync, and its settings are settings."""
    made = run("init")
    assert made.returncode == 0, made.stderr
    assert "Next, in this folder:" in made.stdout
    assert all(f"Made {name}\n" in made.stdout for name in files_of(tmp_path))
    settings = {f"VERBEX_{name.upper()}" for name in Settings.model_fields}
    text = (tmp_path / ".env").read_text(encoding="utf-8")
    assert {
        line.strip("# ").partition("=")[0] for line in text.splitlines() if line.endswith("=")
    } <= settings
    assert set(dotenv_values(tmp_path / ".env")) <= settings
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    DataFolder(tmp_path / "data").land([b'{"traceId": "t1", "event": "call_started", "callId": "a"}'])
    done = run("sync")
    assert done.returncode == 0, done.stderr
    shown = run("query", "select week, agent_id, calls from agent_weekly", "--format", "csv")
    assert shown.stdout.startswith("week,agent_id,calls\n"), shown.stderr


@pytest.mark.parametrize("name", [".env", ".gitignore", "workspace.yaml", "sql/marts/agent_weekly.sql"])
def test_nothing_is_written_over(run: Run, tmp_path: Path, name: str) -> None:
    """Whatever is there stays, also if it is a link to nowhere."""
    project = tmp_path / "calls"
    path = project / name
    path.parent.mkdir(parents=True)
    path.write_text("# mine\n")
    done = run("init", "calls")
    assert done.returncode == 0, done.stderr
    assert f"Left calls/{name} as it is\n" in done.stdout
    assert path.read_text() == "# mine\n"
    assert ("VERBEX_SQL_DIR=sql" in done.stderr) == (name == ".env")
    before = files_of(project)
    assert run("init", "calls").returncode == 0
    assert files_of(project) == before
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert run("init", "calls").returncode == 0
    assert path.is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_the_folder_of_verbex_sync_itself_is_no_project(run: Run, tmp_path: Path) -> None:
    """There every file would be found twice."""
    (tmp_path / "sql").symlink_to(sql_folder())
    refused = run("init")
    assert refused.returncode == 2
    assert "sql/marts/" in refused.stderr
    assert set(files_of(tmp_path)) == set()
    refused = run("sync", VERBEX_SQL_DIR="sql")
    assert refused.returncode == 1
    assert "Remove the setting" in refused.stderr
