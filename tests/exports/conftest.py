"""The PostgreSQL server that tests of exports share. They are one group, so that one process starts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data_folder import DataFolder
from support.postgresql import Database, Server, serving_postgresql


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("postgresql"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving_postgresql() as served:
        yield served


@pytest.fixture
def database(server: Server) -> Database:
    return server.make_database()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """An empty data folder, with a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")
