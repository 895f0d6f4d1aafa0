"""The command line as people and programs use it: real commands, real output and exit codes."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner
from support.command import Run, typing_in
from support.data_folder import DataFolder, body
from support.oracle import STARTED

from pipelines.cli import Commands, main
from pipelines.models.sql_file import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


class Synced(NamedTuple):
    """A folder in which `verbex-sync sync` was typed, and what came of it."""

    path: Path
    run: Run
    done: subprocess.CompletedProcess[str]


# It is typed once, and looked at by all tests that change nothing, so they stay in one process.
looks_at_synced = pytest.mark.xdist_group("synced")


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    path = tmp_path_factory.mktemp("synced")
    DataFolder(path / "data").land([body("a", STARTED, "call", 0), body("a", STARTED, "call", 0)])
    run = typing_in(path)
    return Synced(path, run, run("sync"))


def test_the_demo_shows_calls_pca_and_duplicates_and_leaves_them_to_query(run: Run) -> None:
    """One command runs everything, and its tables can be queried afterwards."""
    demo = run("demo", "--calls", "30")
    assert demo.returncode == 0, demo.stderr
    for title in (
        "Calls by status",
        "PCA coverage",
        "Duplicates removed",
        "One enriched call",
        "verbex-sync ui",
    ):
        assert title in demo.stdout
    counted = run("query", "select count(*) as calls from calls", "--format", "json")
    assert json.loads(counted.stdout) == {"calls": 30}


def test_serve_refuses_to_mix_real_events_with_those_of_a_demo(run: Run, folder: DataFolder) -> None:
    """The tables could not be told apart afterwards."""
    folder.path.mkdir()
    (folder.path / "demo").touch()
    refused = run("serve", "--port", "0", VERBEX_ALLOW_UNSIGNED="true")
    assert refused.returncode == 2
    assert "demo" in refused.stderr
    assert [path.name for path in folder.path.iterdir()] == ["demo"]


def test_misspelled_settings_are_named_with_the_nearest_right_one(run: Run, tmp_path: Path) -> None:
    """From the environment and from `.env`. What Kubernetes makes of a service's name is none of them."""
    (tmp_path / ".env").write_text("VERBEX_API_KYE=secret\n")
    kubernetes = {
        "VERBEX_SERVICE_HOST": "10.0.0.1",
        "VERBEX_SERVICE_PORT_HTTP": "8080",
        "VERBEX_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "VERBEX_PORT_8080_TCP_ADDR": "10.0.0.1",
        "VERBEX_SYNC_PORT": "tcp://10.0.0.1:8080",
    }
    done = run("status", VERBEX_DATA_DRI="elsewhere", **kubernetes)
    assert done.stderr.splitlines()[:2] == [
        "VERBEX_API_KYE is no setting and has no effect. Do you mean VERBEX_API_KEY?",
        "VERBEX_DATA_DRI is no setting and has no effect. Do you mean VERBEX_DATA_DIR?",
    ]
    assert "VERBEX_S" not in done.stderr
    assert "VERBEX_P" not in done.stderr
    assert "secret" not in done.stderr


def test_the_demo_refuses_to_mix_with_real_data(run: Run, folder: DataFolder) -> None:
    """A folder with real events is not changed."""
    folder.land([body("a", STARTED, "call", 0)])
    demo = run("demo")
    assert demo.returncode == 2
    assert "VERBEX_DATA_DIR" in demo.stderr


@looks_at_synced
def test_sync_loads_what_landed_and_says_so(synced: Synced) -> None:
    """Counts of deliveries, events and calls are on one line."""
    assert synced.done.returncode == 0, synced.done.stderr
    assert "Loaded 2 deliveries from 1 file into 1 event and 1 call" in synced.done.stdout


@looks_at_synced
def test_sync_records_its_run_where_the_ui_finds_it(synced: Synced) -> None:
    """The Dagster home is under the data folder."""
    assert not (synced.path / ".env").exists()
    with dg.DagsterInstance.from_config(str(synced.path / "data" / "dagster")) as instance:
        (run_record,) = instance.get_runs()
    assert run_record.job_name == "load"


def test_a_full_refresh_gives_the_same_rows(run: Run, folder: DataFolder) -> None:
    """`sync --full-refresh` builds every table again from landing."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    before = folder.tables()
    done = run("sync", "--full-refresh")
    assert "Loaded 1 delivery from 1 file" in done.stdout
    assert folder.tables() == before


@looks_at_synced
def test_query_prints_json_for_programs(synced: Synced) -> None:
    """One JSON object a line; numbers stay numbers, and null stays null."""
    done = synced.run("query", "select 1 as n, null as nothing, 'あ' as text", "--format", "json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"n": 1, "nothing": None, "text": "あ"}
    ]


@looks_at_synced
def test_query_prints_csv_for_programs(synced: Synced) -> None:
    """A header and rows that a CSV reader takes back."""
    done = synced.run("query", "select 'a,\"b' as x, 2 as y", "--format", "csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [["x", "y"], ['a,"b', "2"]]


def test_query_before_the_first_sync_says_what_to_type(run: Run) -> None:
    """The exit code is 1, and the message names the next command."""
    done = run("query", "select 1")
    assert done.returncode == 1
    assert "verbex-sync sync" in done.stderr


@looks_at_synced
def test_a_mistake_in_sql_is_reported_without_a_traceback(synced: Synced) -> None:
    """Exit code 2, DuckDB's own message."""
    done = synced.run("query", "select * from no_such_table")
    assert done.returncode == 2
    assert "no_such_table" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_model_is_reported_without_a_traceback() -> None:
    """For any command, the exit code is 1 and the message names the file."""

    @click.group(cls=Commands)
    def commands() -> None:
        pass

    @commands.command()
    def sync() -> None:
        raise ModelError("mine.sql is not one SELECT")

    done = CliRunner().invoke(commands, ["sync"])
    assert (done.exit_code, done.output) == (1, "mine.sql is not one SELECT\n")


def test_help_lists_every_command_with_a_whole_sentence_and_each_can_be_typed() -> None:
    """The list is printed without importing a command. A text that is too long would end in dots."""
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
        assert f"Example: verbex-sync {name}" in (command.epilog or "")


@looks_at_synced
def test_query_cannot_change_what_is_published(synced: Synced) -> None:
    """Readers read."""
    done = synced.run("query", "drop table calls")
    assert done.returncode == 2
    assert "read-only" in done.stderr


def test_status_shows_what_is_published_and_what_is_not_loaded_yet(run: Run, folder: DataFolder) -> None:
    """Programs get the facts in one line, with the number of files that landed since."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    folder.land([body("b", STARTED, "call", 1)])
    facts = json.loads(run("status", "--format", "json").stdout)
    assert (facts["events"], facts["calls"], facts["landed_files_to_load"]) == (1, 1, 1)


def test_wrong_settings_are_all_reported_at_once(run: Run) -> None:
    """The exit code is 2, and the message names each wrong setting."""
    done = run("status", VERBEX_PORT="99999", VERBEX_WORKERS="none")
    assert done.returncode == 2
    assert "VERBEX_PORT" in done.stderr
    assert "VERBEX_WORKERS" in done.stderr


def test_serve_refuses_to_start_without_authentication(run: Run) -> None:
    """Without a secret, a token or permission for unsigned events, the message names the setting to set."""
    done = run("serve", "--port", "0")
    assert done.returncode == 2
    assert "VERBEX_WEBHOOK_SECRETS" in done.stderr


def test_serve_loads_neither_dagster_nor_duckdb() -> None:
    """The process that is reachable from the internet loads only what it needs."""
    script = (
        "import sys; import pipelines.cli, pipelines.cli.serve, connector.serve; "
        "print([name for name in ('dagster', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_and_mistakes_wait_for_no_dagster() -> None:
    """It takes longer to import than all else together. A command does so when it begins its work."""
    script = (
        "import sys, pkgutil, pipelines.cli\n"
        "for each in pkgutil.iter_modules(pipelines.cli.__path__, 'pipelines.cli.'):\n"
        "    if not each.name.endswith('__main__'): __import__(each.name)\n"
        "print([name for name in ('dagster', 'dagster_webserver', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_verify_rebuild_proves_the_published_tables_from_landing(run: Run, folder: DataFolder) -> None:
    """If the tables are equal, the exit code is 0. The files of the rebuild are removed."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    done = run("verify", "--rebuild", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["published_only"] for line in done.stdout.splitlines()} == {0}
    assert not list(folder.path.glob("rebuild-*"))


def test_verify_rebuild_names_the_rows_that_differ(run: Run, folder: DataFolder) -> None:
    """If a row was changed by hand, its table and key are printed, and the exit code is 1."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    published = folder.warehouse.published.resolve()
    published.chmod(0o644)
    with duckdb.connect(str(published)) as connection:
        connection.execute("update stored.calls set agent_id = 'another agent'")
    done = run("verify", "--rebuild", "--format", "json")
    assert done.returncode == 1
    differing = [json.loads(line) for line in done.stdout.splitlines() if '"published_only": 0' not in line]
    assert [(row["table"], row["differing_keys"]) for row in differing] == [("calls", [["call"]])]
