"""The fixtures that several test modules share."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from support.command import Query, Run, typing_in
from support.data_folder import DataFolder
from support.postgresql import Database, Server, serving_postgresql

from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.cli import main

# How long an example takes says nothing about what is tested, and much about what else the machine does.
settings.register_profile("at_any_speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("at_any_speed")


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the number of cores, because many tests wait for processes they have started."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the rooms of the longest tests, so that no process is left with one at the end."""
    items.sort(key=lambda item: item.path.parent.name not in ("exports", "whole", "cli"))


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    """Serve a simulated Verbex API with 30 calls and no faults. Tests may set others in `api.faults`."""
    async with ApiServer(World.build(calls=30)) as server:
        yield server


@pytest.fixture(scope="session")
def oldest_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on PYTHONPATH that holds the oldest DuckDB whose readers we promise to serve.

    Tests that ask for it are of the group `oldest_duckdb`, so that one process installs it, once.
    """
    return install(tmp_path_factory.mktemp("oldest_duckdb"), "--no-deps", "duckdb==1.1.3")


@pytest.fixture(scope="session")
def pandas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on PYTHONPATH that holds pandas, too large to install for tests that are not slow."""
    return install(tmp_path_factory.mktemp("pandas"), "pandas")


def install(folder: Path, *what: str) -> Path:
    """Install packages into a folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*command, "--no-compile", "--disable-pip-version-check", *what], check=True)
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server. Its tests are of the group `postgresql`, so that one process starts it, once."""
    with serving_postgresql() as served:
        yield served


@pytest.fixture
def database(server: Server) -> Database:
    """An empty database."""
    return server.make_database()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Types a command in a folder of its own, with no settings but those given."""
    return typing_in(tmp_path)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A published warehouse, made once."""
    made = DataFolder(tmp_path_factory.mktemp("published") / "data")
    made.sync()
    return made


@pytest.fixture
def query(published: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Query:
    """Type a query in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERBEX_DATA_DIR", str(published.path))
    return lambda *words: CliRunner().invoke(main, ["query", *words])
