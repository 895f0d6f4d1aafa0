"""The walls of the house: who may import whom, read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONNECTOR = sorted((ROOT / "connector").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name, so that the walls can be read"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", CONNECTOR, ids=lambda path: path.stem)
def test_connector_knows_neither_dagster_nor_duckdb_nor_what_is_built_on_it(path: Path) -> None:
    """`connector/` gets data in and imports nothing that stands above it."""
    assert not {"dagster", "duckdb", "pipelines", "sql", "tests"} & set(imported_packages(path))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_pipelines_only_wire(path: Path) -> None:
    """`pipelines/` speaks no HTTP and imports nothing from the tests."""
    assert not {"aiohttp", "requests", "httpx", "urllib", "http", "tests"} & set(imported_packages(path))


def test_sql_holds_nothing_but_sql() -> None:
    """`sql/` only transforms: one statement a file, and no code."""
    assert {path.suffix for path in (ROOT / "sql").rglob("*") if path.is_file()} == {".sql"}


def test_sql_takes_the_time_as_a_parameter() -> None:
    """A table is a function of landing, so no statement may ask the clock or chance."""
    clocks = ("now(", "current_timestamp", "current_date", "get_current", "today(", "random(", "uuid(")
    for path in (ROOT / "sql").rglob("*.sql"):
        statement = path.read_text(encoding="utf-8").lower()
        assert not [clock for clock in clocks if clock in statement], path
