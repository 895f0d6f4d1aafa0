"""The command line as people and programs use it: real commands, real output, meaningful exit codes."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import click
import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner
from dotenv import dotenv_values
from support.command import Run
from support.data_folder import DataFolder, body
from support.oracle import STARTED

from pipelines.cli import Commands, main
from pipelines.instance.home import ensure_home
from pipelines.models.sql_file import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def test_the_demo_shows_calls_pca_and_duplicates_and_leaves_them_to_query(run: Run) -> None:
    """One command plays everything for real, and what it showed can be asked again."""
    demo = run("demo", "--calls", "30")
    assert demo.returncode == 0, demo.stderr
    for title in (
        "Calls by status",
        "PCA coverage",
        "Duplicates removed",
        "One enriched call",
        "dagster dev",
    ):
        assert title in demo.stdout
    counted = run("query", "select count(*) as calls from calls", "--format", "json")
    assert json.loads(counted.stdout) == {"calls": 30}


def test_the_demo_refuses_to_mix_with_real_data(run: Run, folder: DataFolder) -> None:
    """A folder that holds somebody's events is left alone."""
    folder.land([body("a", STARTED, "call", 0)])
    demo = run("demo")
    assert demo.returncode == 2
    assert "VERBEX_DATA_DIR" in demo.stderr


def test_sync_loads_what_landed_and_says_so(run: Run, folder: DataFolder) -> None:
    """Counts of deliveries, events and calls are on one line."""
    folder.land([body("a", STARTED, "call", 0), body("a", STARTED, "call", 0)])
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert "Loaded 2 deliveries from 1 files into 1 events and 1 calls" in done.stdout


def test_sync_records_its_run_where_the_ui_finds_it(run: Run, folder: DataFolder, tmp_path: Path) -> None:
    """The Dagster home is under the data folder, and `.env` leads `dagster dev` to it."""
    folder.land([body("a", STARTED, "call", 0)])
    run("sync")
    assert (tmp_path / ".env").read_text() == f"DAGSTER_HOME={tmp_path}/data/dagster\n"
    with dg.DagsterInstance.from_config(str(tmp_path / "data" / "dagster")) as instance:
        (run_record,) = instance.get_runs()
    assert run_record.job_name == "load"


@pytest.mark.parametrize("lines", ["A=1", "A=1\n", "A=1\r\n", ""])
def test_remembering_the_home_spoils_no_line_of_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    """A file whose last line has no end, as some editors leave it, may end in a key."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    env_file = tmp_path / ".env"
    env_file.write_text(lines, newline="")
    home = ensure_home(tmp_path / "data", env_file)
    ended = {"A": "1"} if lines else {}
    assert dotenv_values(env_file) == ended | {"DAGSTER_HOME": str(home)}


def test_an_env_file_that_can_not_be_written_keeps_nobody_from_syncing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be mounted into a container."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    assert ensure_home(tmp_path / "data", tmp_path / "missing" / ".env") == tmp_path / "data" / "dagster"


def test_a_full_refresh_gives_the_same_rows(run: Run, folder: DataFolder) -> None:
    """`sync --full-refresh` builds every table anew from landing."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    before = folder.tables()
    done = run("sync", "--full-refresh")
    assert "Loaded 1 deliveries from 1 files" in done.stdout
    assert folder.tables() == before


def test_query_prints_json_for_programs(run: Run, folder: DataFolder) -> None:
    """One JSON object a line; numbers stay numbers, and null stays null."""
    folder.sync()
    done = run("query", "select 1 as n, null as nothing, 'あ' as text", "--format", "json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"n": 1, "nothing": None, "text": "あ"}
    ]


def test_query_prints_csv_for_programs(run: Run, folder: DataFolder) -> None:
    """A header and rows that a CSV reader takes back."""
    folder.sync()
    done = run("query", "select 'a,\"b' as x, 2 as y", "--format", "csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [["x", "y"], ['a,"b', "2"]]


def test_query_before_the_first_sync_says_what_to_type(run: Run) -> None:
    """Exit code 1 and the next command."""
    done = run("query", "select 1")
    assert done.returncode == 1
    assert "verbex-sync sync" in done.stderr


def test_a_mistake_in_sql_is_told_without_a_traceback(run: Run, folder: DataFolder) -> None:
    """Exit code 2, DuckDB's own message."""
    folder.sync()
    done = run("query", "select * from no_such_table")
    assert done.returncode == 2
    assert "no_such_table" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_model_is_told_without_a_traceback() -> None:
    """Exit code 1 and the file's name, whichever command met it."""

    @click.group(cls=Commands)
    def commands() -> None:
        pass

    @commands.command()
    def sync() -> None:
        raise ModelError("mine.sql is not one SELECT")

    done = CliRunner().invoke(commands, ["sync"])
    assert (done.exit_code, done.output) == (1, "mine.sql is not one SELECT\n")


def test_help_lists_every_command_with_a_whole_sentence_and_each_can_be_typed() -> None:
    """The list is written without importing a command; a text that is cut ends in dots."""
    listed = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    context = click.Context(main)
    for name in main.list_commands(context):
        (line,) = [line for line in listed.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(".")
        assert not line.endswith("..")
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help


def test_query_cannot_change_what_is_published(run: Run, folder: DataFolder) -> None:
    """Readers read."""
    folder.sync()
    done = run("query", "drop table calls")
    assert done.returncode == 2
    assert "read-only" in done.stderr


def test_status_tells_what_is_published_and_what_waits(run: Run, folder: DataFolder) -> None:
    """Facts for programs in one line, with what landed since."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    folder.land([body("b", STARTED, "call", 1)])
    facts = json.loads(run("status", "--format", "json").stdout)
    assert (facts["events"], facts["calls"], facts["landed_files_to_load"]) == (1, 1, 1)


def test_wrong_settings_are_all_told_at_once(run: Run) -> None:
    """Exit code 2 and a line for each."""
    done = run("status", VERBEX_PORT="99999", VERBEX_WORKERS="none")
    assert done.returncode == 2
    assert "VERBEX_PORT" in done.stderr
    assert "VERBEX_WORKERS" in done.stderr


def test_serve_refuses_to_let_everybody_in_by_accident(run: Run) -> None:
    """With no secret, no token and unsigned not allowed it says which setting to set."""
    done = run("serve", "--port", "0")
    assert done.returncode == 2
    assert "VERBEX_WEBHOOK_SECRETS" in done.stderr


def test_serve_loads_neither_dagster_nor_duckdb() -> None:
    """The process that faces the internet carries only what it needs."""
    script = (
        "import sys; import pipelines.cli, pipelines.cli.serve, connector.serve; "
        "print([name for name in ('dagster', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_verify_rebuild_proves_the_published_tables_from_landing(run: Run, folder: DataFolder) -> None:
    """Equal tables: exit code 0, and no trace of the rebuild is left."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    done = run("verify", "--rebuild", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["published_only"] for line in done.stdout.splitlines()} == {0}
    assert not list(folder.path.glob("rebuild-*"))


def test_verify_rebuild_names_the_rows_that_differ(run: Run, folder: DataFolder) -> None:
    """A row that somebody changed is told by table and key, with exit code 1."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    published = folder.warehouse.published.resolve()
    published.chmod(0o644)
    with duckdb.connect(str(published)) as connection:
        connection.execute("update calls set agent_id = 'somebody else'")
    done = run("verify", "--rebuild", "--format", "json")
    assert done.returncode == 1
    differing = [json.loads(line) for line in done.stdout.splitlines() if '"published_only": 0' not in line]
    assert [(row["table"], row["differing_keys"]) for row in differing] == [("calls", [["call"]])]
