"""The README against the code: what it promises is there, and what is there is in it."""

import re
from pathlib import Path

import click

from connector.settings import ENV_PREFIX, Settings
from pipelines.cli import main
from pipelines.models.load import load_models
from pipelines.models.reference import replace_reference
from pipelines.models.sql_file import sql_folder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    """The table of settings is the class of settings."""
    documented = set(re.findall(rf"`({ENV_PREFIX}[A-Z_]+)`", README))
    assert documented == {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_every_command_is_in_the_readme() -> None:
    """Also each of their options that a person may look for."""
    for name, command in main.commands.items():
        assert f"verbex-sync {name}" in README
        assert isinstance(command, click.Command)


def test_the_table_reference_is_what_the_sql_headers_say() -> None:
    """Made anew it would not differ; `python -m pipelines.models.reference README.md` does so."""
    assert replace_reference(README, sql_folder()) == README


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    """A new runtime dependency earns a line."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"\ndependencies = \[\n(.*?)\n\]", project, re.DOTALL)
    assert listed
    for name in re.findall(r'"([a-z-]+)', listed[1]):
        assert f"`{name}`" in README


def test_every_file_that_the_readme_names_is_there() -> None:
    """Paths in backticks lead somewhere."""
    folders = ("connector/", "sql/", "pipelines/", "tests/", ".ci/", ".github/")
    for path in re.findall(r"[`(]([\w./-]+)[`)]", README):
        assert not path.startswith(folders) or (ROOT / path).exists(), path


def test_every_public_table_of_the_contract_is_there() -> None:
    """Dashboards hold on to these names."""
    contract = {"events", "calls", "pca", "pca_items", "pca_fetches", "call_details", "call_messages"}
    contract |= {"pca_revisions", "pca_columns", "pca_views"}
    marts = {"calls_enriched", "agent_daily", "quarantine"}
    assert contract | marts <= {model.table for model in load_models(sql_folder())}
