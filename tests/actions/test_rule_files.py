"""Rules: what their headers may say, and the examples that came with verbex-sync."""

from pathlib import Path

import pytest

from pipelines.models.load import load_sql
from pipelines.models.rule import Rule
from pipelines.models.rule_files import list_rules, read_rule
from pipelines.models.sql_file import ModelError, sql_folder

RULES = sorted(list_rules(sql_folder()))
HEADER = """-- A test.
--
-- action: http
-- once per: call_id
"""
SELECT = "select call_id, started_at as happened_at from calls\n"


def written(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / "rules" / f"{name}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_are_off_until_they_are_named() -> None:
    assert not [model for model in load_sql(sql_folder()).models if isinstance(model, Rule)]
    named = load_sql(sql_folder(), rules=("callbacks",)).models
    assert [model.table for model in named if isinstance(model, Rule)] == ["rules.callbacks"]


@pytest.mark.parametrize("name", RULES)
def test_each_example_can_be_used(name: str) -> None:
    sql = load_sql(sql_folder(), rules=(name,))
    (rule,) = [model for model in sql.models if isinstance(model, Rule)]
    assert not rule.problem
    assert rule.is_incremental
    assert rule.description


def test_the_examples_are_those_that_people_expect() -> None:
    kinds = {
        rule.name: rule.kind
        for rule in load_sql(sql_folder(), rules=tuple(RULES)).models
        if isinstance(rule, Rule)
    }
    assert kinds == {
        "unhappy_callers": "http",
        "call_summaries": "http",
        "missed_analyses": "email",
        "callbacks": "dial",
        "call_states": "http",
    }


def test_a_rule_that_is_named_and_not_there_is_named_with_those_that_are() -> None:
    (unusable,) = load_sql(sql_folder(), rules=("calback",)).unusable
    assert unusable.name == "calback"
    assert "callbacks" in unusable.problem
    assert "VERBEX_ACTIONS" in unusable.problem


def test_a_rule_may_not_have_the_name_of_a_table(tmp_path: Path) -> None:
    written(tmp_path, HEADER + SELECT, "calls")
    sql = load_sql(sql_folder(), tmp_path, rules=("calls",))
    (unusable,) = sql.unusable
    assert "a table has this name" in unusable.problem


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("-- A.\n--\n-- once per: call_id\n", "a rule is done by http, email, dial"),
        ("-- A.\n--\n-- action: sms\n-- once per: call_id\n", "a rule is done by http, email, dial"),
        ("-- A.\n--\n-- action: http\n", "has no `once per:`"),
        (HEADER + "-- grain: agent_id\n", "acts once per call_id"),
        (HEADER + "-- at most: often\n", "write a limit such as 100 per hour"),
        (HEADER + "-- quiet hours: at night\n", "write hours and a time zone"),
        (HEADER + "-- keep: a b\n", "not a field of an answer"),
        (HEADER + "-- not before: a, b\n", "names one column"),
        (HEADER + "-- again when: Summary\n", "not the name of a column"),
        (HEADER.replace("http", "dial") + "-- at most: 1 per hour\n", "needs `quiet hours:`"),
        (HEADER.replace("http", "dial") + "-- quiet hours: 20:00-08:00 UTC\n", "needs `at most:`"),
        (HEADER + "-- columns:\n--   call_id varchar: the call\n", "no `happened_at`"),
        (HEADER + "-- schema: ops\n", "no field and no column"),
    ],
)
def test_a_header_that_leaves_something_open_is_refused_with_the_fix(
    tmp_path: Path, header: str, problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        read_rule(written(tmp_path, header + SELECT))


def test_a_rule_may_not_take_the_settings_of_failed_runs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Rename the file"):
        read_rule(written(tmp_path, HEADER + SELECT, "pipeline_failures"))


def test_a_broken_rule_is_named_and_the_tables_go_on(tmp_path: Path) -> None:
    written(tmp_path, HEADER + "selekt 1")
    sql = load_sql(sql_folder(), tmp_path, rules=("mine",))
    (broken,) = [model for model in sql.models if model.problem]
    assert broken.table == "rules.mine"
    assert "mine.sql" in broken.problem


def test_an_upgrade_of_duckdb_makes_no_rule_another_one_and_an_edit_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_rule(written(tmp_path, HEADER + SELECT))
    monkeypatch.setattr("pipelines.models.model.duckdb.__version__", "99.0")
    same = read_rule(written(tmp_path, HEADER + SELECT))
    edited = read_rule(
        written(tmp_path, HEADER + SELECT.replace("calls", "calls where status = 'completed'"))
    )
    assert before.version == same.version != edited.version
