"""`verbex-sync export`: what it says, and how it ends."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.data_folder import DataFolder, body
from support.oracle import STARTED
from support.postgresql import PASSWORD, Database

from pipelines.cli import main

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """A published data folder, which commands find in their settings."""
    made = DataFolder(tmp_path / "data")
    made.land([body("a", STARTED, "call-a", 0)])
    made.sync()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERBEX_DATA_DIR", str(made.path))
    return made


def typed(*words: str) -> Result:
    result = CliRunner().invoke(main, ["export", *words])
    assert PASSWORD not in result.output
    return result


def test_targets_are_brought_up_shown_and_compared(
    folder: DataFolder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the setting; what differs is named by its key and ends with 1."""
    monkeypatch.setenv("VERBEX_EXPORTS", database.url)
    first = typed()
    assert (first.exit_code, first.output.count("stands at publish 1")) == (0, 1)
    folder.land([body("b", STARTED, "call-b", 0)])
    folder.sync()
    behind = json.loads(typed("--status", "--format", "json").output)
    assert (behind["publish"], behind["published"], behind["publishes_behind"]) == (1, 2, 1)
    assert typed().exit_code == 0
    assert json.loads(typed("--status", "--format", "json").output)["publishes_behind"] == 0
    assert typed("--verify").exit_code == 0
    database.run(
        "update verbex.calls set status = 'changed' where call_id = 'call-b'",
        "delete from verbex.events where trace_id = 'a'",
        "insert into verbex.agents (agent_id) values ('theirs')",
    )
    compared = typed("--verify", "--format", "json", "--tables", "calls,events,agents,agent_daily")
    assert compared.exit_code == 1
    found = {row["table"]: row for row in map(json.loads, compared.stdout.splitlines())}
    assert [found["calls"][name] for name in ("differ", "missing", "surplus")] == [1, 0, 0]
    assert [found["events"][name] for name in ("differ", "missing", "surplus")] == [0, 1, 0]
    assert [found["agents"][name] for name in ("differ", "missing", "surplus")] == [0, 0, 1]
    assert [found[table]["some_keys"] for table in ("calls", "events", "agents")] == ["call-b", "a", "theirs"]
    assert found["agent_daily"]["differ"] == 0
    assert "--full-refresh` puts it right" in compared.stderr
    assert typed("--full-refresh").exit_code == 0
    assert typed("--verify").exit_code == 0


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        ([], 2, "There is no target. Name one with --to, or set VERBEX_EXPORTS."),
        (["--to", "carrier-pigeon://loft"], 2, "carrier-pigeon://loft is no target."),
        (["--to", "foo"], 2, "foo is no target. Write a URL such as"),
        (["--to", "postgres"], 2, "is no target. Write a URL"),
        (
            ["--to", "postgresql://u:secret@127.0.0.1:1/d"],
            1,
            "postgresql://u:***@127.0.0.1:1/d can't be used",
        ),
        (["--to", "postgresql://h/d", "--status", "--verify"], 2, "Type one of"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_can_not_be_exported_to_is_named(words: list[str], exit_code: int, said: str) -> None:
    """With the next step, and 2 for what was typed wrongly."""
    result = typed(*words)
    assert result.exit_code == exit_code
    assert said in result.output
    assert "secret" not in result.output
