"""The documents against the code: what they promise is there, and what is there is in them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from connector.action_options import ACTION_PREFIX, option_names, rule_of
from connector.metrics import Metrics
from connector.setting_names import SETTING_NAMES
from connector.settings import ENV_PREFIX, Settings
from pipelines.cli import main
from pipelines.definitions import build_definitions
from pipelines.models.load import load_sql
from pipelines.models.reference import replace_reference
from pipelines.models.sql_file import sql_folder

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "connector/README.md",
    "pipelines/README.md",
    "pipelines/exports/README.md",
    "sql/README.md",
    "tests/README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
)
LONGEST_README = 220
LONGEST_LINE = 120

_PATH = re.compile(r"(?<![\w./-])(?:connector|pipelines|sql|tests|\.github|\.ci)/[\w./-]*")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

each_document = pytest.mark.parametrize("name", DOCUMENTS)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_spans(text: str) -> list[str]:
    """What stands in backticks, blocks of code left out."""
    return re.findall(r"`([^`]+)`", _FENCE.sub("", text))


def plain_lines(text: str) -> Iterator[str]:
    """The lines outside of blocks of code and tables."""
    for line in _FENCE.sub("", text).splitlines():
        if not line.startswith(("|", "<details>")):
            yield line


def anchors(text: str) -> set[str]:
    """The names by which the headings of a document can be linked to, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands() -> dict[str, click.Command]:
    """The commands by name, asked of the group itself: it imports each only when it is asked for."""
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def test_the_front_page_is_short() -> None:
    """What needs more room stands in the README of its folder."""
    assert len(read("README.md").splitlines()) <= LONGEST_README


def test_the_front_page_has_the_command_that_ci_runs() -> None:
    """`.ci/run` takes it from there, so it must be found, and be one line."""
    assert len(re.findall(r"^python3 -m venv \.venv .*pytest$", read("README.md"), re.MULTILINE)) == 1


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    """The table of settings is the class of settings."""
    documented = set(re.findall(rf"`({ENV_PREFIX}[A-Z_<>]+)`", read("README.md")))
    assert documented == {*SETTING_NAMES, *option_names(["<rule>"])}


@each_document
def test_no_document_names_a_setting_that_is_not_there(name: str) -> None:
    """Also where a value is given with it. Options of rules are there for a rule of any name."""
    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+", read(name)))
    assert {name for name in named - {ACTION_PREFIX} if rule_of(name) is None} <= {*SETTING_NAMES}


def test_every_command_is_in_the_readme() -> None:
    """As a person types it."""
    assert commands()
    for name in commands():
        assert f"`verbex-sync {name}" in read("README.md")


def test_every_command_of_a_group_is_in_the_readme_of_the_pipelines() -> None:
    """The front page has only the group."""
    groups = {name: group for name, group in commands().items() if isinstance(group, click.Group)}
    assert groups
    for name, group in groups.items():
        for inner in group.commands:
            assert f"`verbex-sync {name} {inner}" in read("pipelines/README.md")


@each_document
def test_no_document_names_a_command_or_an_option_that_is_not_there(name: str) -> None:
    """Every `verbex-sync ...` in backticks can be typed."""
    there = commands()
    for span in code_spans(read(name)):
        if typed := re.match(r"verbex-sync\s+([a-z-]+)(.*)", span, re.DOTALL):
            name_of_command, words = typed.groups()
            assert name_of_command in there, span
            command = there[name_of_command]
            if isinstance(command, click.Group) and (inner := re.match(r"\s+([a-z-]+)", words)):
                assert inner[1] in command.commands, span
                command = command.commands[inner[1]]
            known = {option for parameter in command.params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", words)) <= known, span


def test_every_metric_is_in_the_readme_of_the_connector_and_no_other() -> None:
    """By the names that Prometheus sees."""
    shown = re.findall(r"^# TYPE (\w+)", Metrics().render().decode(), re.MULTILINE)
    documented = set(re.findall(r"`(verbex_\w+)", read("connector/README.md")))
    assert documented == {name for name in shown if not name.endswith("_created")}


@pytest.mark.parametrize("package", ["connector", "pipelines"])
def test_every_room_is_in_the_readme_of_its_package(package: str) -> None:
    """A room is a folder with an `__init__.py`."""
    rooms = [path.parent for path in (ROOT / package).glob("*/__init__.py")]
    assert rooms
    for room in rooms:
        assert f"`{package}/{room.name}/`" in read(f"{package}/README.md")


def test_every_folder_of_tests_is_in_their_readme() -> None:
    """A newcomer knows which tests to run."""
    for folder in (path for path in (ROOT / "tests").iterdir() if path.is_dir()):
        assert folder.name.startswith((".", "__")) or f"`tests/{folder.name}/`" in read("tests/README.md")


def test_every_slow_test_and_benchmark_is_in_the_readme_of_the_tests() -> None:
    """They are run by hand, so a person must know of them."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    slow = [path for path in tests if "mark.slow" in path.read_text(encoding="utf-8")]
    benchmarks = [*(ROOT / "tests" / "benchmarks").glob("*.py")]
    assert slow
    assert benchmarks
    for path in (*slow, *benchmarks):
        assert f"`{path.relative_to(ROOT)}`" in read("tests/README.md")


def test_every_job_schedule_and_sensor_is_in_the_readme_of_the_pipelines(tmp_path: Path) -> None:
    """As Dagster names them."""
    repository = build_definitions(Settings(_env_file=None, data_dir=tmp_path)).get_repository_def()
    names = [name for name in repository.job_names if not name.startswith("__")]
    names += [schedule.name for schedule in repository.schedule_defs]
    names += [sensor.name for sensor in repository.sensor_defs]
    assert names
    for name in names:
        assert f"`{name}`" in read("pipelines/README.md")


def test_the_reference_of_tables_and_questions_is_what_the_sql_headers_say() -> None:
    """Made again it would not differ; `python -m pipelines.models.reference sql/README.md` makes it."""
    text = read("sql/README.md")
    assert "<code>calls</code>" in text
    assert "| `containment` |" in text
    assert replace_reference(text, sql_folder()) == text


def test_every_check_is_in_the_readme_of_the_sql() -> None:
    """With its table and its severity."""
    for check in load_sql(sql_folder()).checks:
        severity = "error" if check.is_blocking else "warn"
        assert f"| `{check.name}` | `{check.model}` | {severity} |" in read("sql/README.md")


def test_every_dependency_has_its_reason_and_its_bounds() -> None:
    """A new runtime dependency earns a line. None is installed in a version that nobody tried."""
    dependencies = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    for dependency in dependencies:
        name = re.match(r"[a-z0-9-]+", dependency)
        assert name
        assert f"`{name[0]}`" in read(".github/CONTRIBUTING.md")
        assert re.search(r">=[\d.]+,<[\d.]+", dependency)


@each_document
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file of this repository, and to a heading that it has."""
    folder = (ROOT / name).parent
    for link in _LINK.findall(_FENCE.sub("", read(name))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@each_document
def test_every_file_that_a_document_names_is_there(name: str) -> None:
    """In text and in commands, by its path from the root of the repository."""
    named = {path.rstrip(".") for path in _PATH.findall(read(name))}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@each_document
def test_no_line_is_too_long_to_read(name: str) -> None:
    """But for tables and blocks of code, which can't be folded."""
    assert [line for line in plain_lines(read(name)) if len(line) > LONGEST_LINE] == []


def test_every_public_table_of_the_contract_is_there() -> None:
    """Dashboards hold on to these names."""
    contract = {"events", "calls", "pca", "pca_items", "pca_fetches", "call_details", "call_messages"}
    contract |= {"pca_revisions", "pca_columns", "pca_views"}
    marts = {"calls_enriched", "agent_daily", "quarantine"}
    assert contract | marts <= {model.table for model in load_sql(sql_folder()).models}
