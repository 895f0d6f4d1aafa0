"""What a reader of the documents types works: queries on simulated data, commands against a simulator."""

import asyncio
import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from support.command import inherited
from support.data_folder import DataFolder, bodies_of, settings_for
from support.deadline import HANG_S

from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.cli import main
from pipelines.enrichment.fetch import fetch_all

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", *(f"{name}/README.md" for name in ("connector", "pipelines", "sql", "tests")))
FOLDERS_BY_FIELD = {"on": "checks", "parameters": "functions", "grain": "marts"}

pytestmark = pytest.mark.xdist_group("documents")


def blocks(kind: str, names: tuple[str, ...] = DOCUMENTS) -> list[str]:
    """Return the blocks of code of one kind."""
    pattern = re.compile(rf"^```{kind}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [block for name in names for block in pattern.findall((ROOT / name).read_text(encoding="utf-8"))]


def is_file(block: str) -> bool:
    """Return whether a block is a file with a header, and not statements to type."""
    return block.startswith("--")


STATEMENTS = [
    statement.strip()
    for block in blocks("sql")
    if not is_file(block)
    for statement in re.split(r";[^\n]*\n", f"{block};\n")
    if statement.strip()
]
# Rules are not among them: tests/actions/test_recipes.py runs those.
FILES = [block for block in blocks("sql") if is_file(block) and "-- action: " not in block]
QUERIES = [
    line.partition("   #")[0]
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("verbex-sync query")
]
(WALK,) = (block for block in blocks("sh", ("README.md",)) if "verbex-sync init" in block)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """The tables of a demo, with the analyses, and with the SQL files that the documents show."""
    path = tmp_path_factory.mktemp("documents")
    for number, text in enumerate(FILES):
        (kind,) = {each for field, each in FOLDERS_BY_FIELD.items() if f"-- {field}: " in text}
        (path / "sql" / kind).mkdir(parents=True, exist_ok=True)
        (path / "sql" / kind / f"shown_{number}.sql").write_text(text, encoding="utf-8")
    folder = DataFolder(path / "data", own_sql_dir=path / "sql")
    world = World.build(calls=60)
    folder.land(bodies_of(world))
    folder.sync()

    async def fetch() -> None:
        async with ApiServer(world) as api:
            await asyncio.to_thread(fetch_all, settings_for(folder, api), folder)

    asyncio.run(fetch())
    folder.sync()
    return folder


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_query_of_the_documents_runs(folder: DataFolder, statement: str) -> None:
    """It has rows, unless the reader is to write a value in place of dots."""
    with duckdb.connect(str(folder.warehouse.published), read_only=True) as reader:
        rows = reader.execute(statement).fetchall()
    assert rows or "'...'" in statement


def test_every_file_of_the_documents_can_be_used(folder: DataFolder) -> None:
    """Marts are tables with rows, checks run, functions are there to be called."""
    sql = folder.sql
    models = [each for each in sql.models if each.name.startswith("shown_")]
    checks = [each for each in sql.checks if each.name.startswith("shown_")]
    functions = [each for each in sql.functions if each.name.startswith("shown_")]
    assert len(models) + len(checks) + len(functions) == len(FILES)
    assert not sql.unusable
    for model in models:
        assert not model.problem
        assert folder.rows(f"from {model.table} limit 1")
    for check in checks:
        assert not folder.inspect(check.model)[check.name].problem


@pytest.mark.parametrize("line", QUERIES)
def test_a_query_command_of_the_documents_runs(
    folder: DataFolder, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is typed, but for where its output goes."""
    monkeypatch.chdir(folder.path.parent)
    monkeypatch.setenv("VERBEX_SQL_DIR", str(folder.own_sql_dir))
    words = shlex.split(line.partition(" > ")[0])[1:]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1


class Terminals:
    """The terminals of a person: one for each command that runs on, and one for all others."""

    def __init__(self, path: Path, port: int, stack: ExitStack) -> None:
        self.path = path
        self._stack = stack
        search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = inherited() | {"PATH": search, "VERBEX_PORT": str(port)}

    def type(self, line: str) -> tuple[int, str]:
        """Type a line, and wait for its end. Return the exit code and what was shown."""
        place = self.path.parent / "place"
        process = self._start(f"{line}\ncode=$?; pwd > {shlex.quote(str(place))}; exit $code")
        shown, _ = process.communicate(timeout=5 * HANG_S)  # several commands
        self.path = Path(place.read_text().strip())
        return process.returncode, shown

    def leave_running(self, line: str, sign: str) -> None:
        """Type a line in a terminal of its own, and wait until it shows `sign`."""
        process = self._start(f"exec {line}")
        self._stack.callback(process.communicate)
        self._stack.callback(process.terminate)
        assert process.stdout
        shown = []
        for text in process.stdout:
            shown.append(text)
            if sign in text:
                return
        raise AssertionError("".join(shown))

    def _start(self, script: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["/bin/bash", "-c", script],
            cwd=self.path,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


SIGNS = {"verbex-sync serve": "listening on", "verbex-sync simulate": "VERBEX_API_KEY="}


@pytest.mark.slow
def test_the_walk_of_the_front_page_works_as_it_is_typed(tmp_path: Path) -> None:
    """In its order; only the ports are free ones. Calls of lost webhooks differ until they are backfilled."""
    (tmp_path / "here").mkdir()
    walk = WALK.replace("8181", str(free_port()))
    ends: dict[str, tuple[int, str]] = {}
    with ExitStack() as stack:
        terminals = Terminals(tmp_path / "here", free_port(), stack)
        for line in (text.partition("   #")[0].strip() for text in walk.splitlines()):
            sign = next((sign for start, sign in SIGNS.items() if line.startswith(start)), None)
            if sign:
                terminals.leave_running(line, sign)
            else:
                ends[line] = terminals.type(line)
    failed = {line: end for line, end in ends.items() if end[0] != 0}
    assert len(ends) >= 5
    assert list(failed) == ["verbex-sync sync && verbex-sync verify"], failed
    ((_, shown),) = failed.values()
    assert "verbex-sync backfill" in shown
