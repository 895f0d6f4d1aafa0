"""Fixtures that several test modules share."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connector.simulator import ApiServer, World


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    """A simulated Verbex API with 30 calls, without faults; `api.world` and `api.faults` are at hand."""
    async with ApiServer(World.build(calls=30)) as server:
        yield server


@pytest.fixture(scope="session")
def oldest_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on PYTHONPATH that holds the oldest DuckDB whose readers we promise to serve."""
    folder = tmp_path_factory.mktemp("oldest_duckdb")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, "duckdb==1.1.3"], check=True)
    return folder
