"""The walls of the house: who may import whom, read from the source itself."""

from pathlib import Path

import pytest
from support.walls import find_breaches, read_sources

ROOT = Path(__file__).parent.parent
SOURCES = read_sources(ROOT)


def test_every_file_stands_in_its_room_and_imports_what_it_may() -> None:
    """The plan is in `support/walls.py`, and in words in `.github/CONTRIBUTING.md`."""
    assert find_breaches(SOURCES) == []


@pytest.mark.parametrize(
    ("path", "source", "why"),
    [
        ("connector/landing/x.py", "import connector.verbex.client", "rooms that the plan names before it"),
        ("connector/simulator/x.py", "from connector.receiver import handler", "names before it"),
        ("connector/journal/x.py", "import pipelines", "nothing of what is built on it"),
        ("connector/fetch/x.py", "def f():\n    import duckdb", "duckdb is for"),
        ("connector/fetch/x.py", "import pyarrow.compute", "pyarrow is for"),
        ("connector/journal/x.py", "import os\nos.fsync(0)", "os.fsync is for connector.system.files"),
        ("connector/journal/x.py", "from os import fdatasync", "os.fdatasync is for connector.system.files"),
        ("pipelines/warehouse/x.py", "import dagster as dg", "dagster is for"),
        ("pipelines/assets/x.py", "import duckdb", "duckdb is for"),
        ("pipelines/warehouse/x.py", "import aiohttp", "aiohttp is for"),
        ("pipelines/runs/x.py", "from rich.table import Table", "rich is for pipelines.cli"),
        ("pipelines/runs/x.py", "from pipelines.cli import common", "names before it"),
        ("pipelines/assets/x.py", "import pipelines.sensors", "names before it"),
        ("pipelines/enrichment/x.py", "from pipelines.exports import y", "names before it"),
        ("pipelines/runs/x.py", "from importlib import import_module", "importlib is for pipelines.cli"),
        ("pipelines/runs/x.py", "from . import follower", "by full name"),
        ("pipelines/attic/x.py", "", "is in no room of the plan"),
        ("pipelines/models/__init__.py", '"""Models."""\nX = 1', "holds more than its docstring"),
        ("pipelines/models/__init__.py", "", "holds more than its docstring"),
    ],
)
def test_a_file_that_breaks_a_wall_is_named(path: str, source: str, why: str) -> None:
    """Each kind of wall, seen failing."""
    breaches = find_breaches(SOURCES | {path: source})
    assert [breach for breach in breaches if breach.startswith(path) and why in breach]


def test_a_circle_between_files_is_named_also_if_an_import_waits_in_a_function() -> None:
    """Python does not mind such a circle; a reader does."""
    circle = {
        "pipelines/models/x.py": "from pipelines.models.y import one",
        "pipelines/models/y.py": "def f():\n    from pipelines.models import x",
    }
    (breach,) = find_breaches(SOURCES | circle)
    assert "pipelines.models.x" in breach
    assert "pipelines.models.y" in breach


def test_sql_holds_nothing_but_sql() -> None:
    """`sql/` only transforms: one statement a file, and no code; its README says how."""
    files = {path.relative_to(ROOT / "sql") for path in (ROOT / "sql").rglob("*") if path.is_file()}
    assert {path.suffix for path in files - {Path("README.md")}} == {".sql"}


def test_sql_takes_the_time_as_a_parameter() -> None:
    """A table is a function of landing, so no statement may ask the clock or chance."""
    clocks = ("now(", "current_timestamp", "current_date", "get_current", "today(", "random(", "uuid(")
    for path in (ROOT / "sql").rglob("*.sql"):
        statement = path.read_text(encoding="utf-8").lower()
        assert not [clock for clock in clocks if clock in statement], path
