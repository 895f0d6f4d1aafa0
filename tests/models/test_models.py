"""SQL files as models: their headers, what they read, and the errors for mistakes in them."""

import re
from pathlib import Path

import pytest

from pipelines.models.load import load_sql, read_model
from pipelines.models.relations import relations_in
from pipelines.models.sql_file import sql_folder


def write_model(folder: Path, name: str, text: str) -> Path:
    path = folder / "marts" / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_header_gives_grain_keys_and_columns(tmp_path: Path) -> None:
    """A header is read into the fields that tables, checks and documents are made from."""
    model = read_model(
        write_model(
            tmp_path,
            "visits",
            "-- One row per visit: to a shop.\n--\n-- grain: shop_id, day\n-- not null: shop_id\n"
            "-- columns:\n"
            "--   shop_id varchar: the shop\n--   day date: the day\n"
            "--   pca map(varchar, varchar): answers: by name\n"
            "select shop_id, day, pca from shops semi join changed using (shop_id);\n",
        )
    )
    assert model.description == "One row per visit: to a shop."
    assert model.grain == model.keys == ("shop_id", "day")
    assert [(c.name, c.type, c.description) for c in model.columns] == [
        ("shop_id", "varchar", "the shop"),
        ("day", "date", "the day"),
        ("pca", "map(varchar, varchar)", "answers: by name"),
    ]
    assert model.is_incremental
    assert model.upstream == {"shops"}


def test_the_tables_that_a_select_reads_do_not_include_its_ctes() -> None:
    """Tables are found in joins, unions and subqueries. The names of CTEs are not tables."""
    sql = (
        "with a as (select * from x), b as (select * from a join ops.y using (i)) "
        "select * from b union all select * from main.z join stored.v using (i) where i in (select i from w)"
    )
    assert relations_in(sql, "m") == {"x", "ops.y", "z", "v", "w"}


def test_every_model_comes_after_what_it_reads() -> None:
    """So models can be refreshed in their order."""
    seen: set[str] = set()
    models = load_sql(sql_folder()).models
    names = {model.table for model in models}
    for model in models:
        assert model.upstream & names <= seen
        seen.add(model.table)


@pytest.mark.parametrize("model", load_sql(sql_folder()).models, ids=lambda model: model.name)
def test_every_model_of_ours_describes_itself(model: object) -> None:
    """Each model has a description, a grain and columns."""
    from pipelines.models.model import Model

    assert isinstance(model, Model)
    assert model.description
    assert model.columns
    assert model.grain


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("selec 1", "is not one SELECT"),
        ("select 1; select 2", "several statements"),
        ("select * from calls semi join changed using (call_id)", "no `grain:`"),
        ("-- keys: agent_id\nselect agent_id from calls semi join changed using (agent_id)", "no `grain:`"),
        ("-- ignores calls: day\nselect call_id, day from calls", "reads `day`, which its header ignores"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_cause(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """The error for a mistake in a customer's own model names the file and the cause."""
    write_model(tmp_path, "mine", text)
    (model,) = load_sql(tmp_path).models
    assert re.search(complaint, model.problem)
    assert "mine" in model.problem


@pytest.mark.parametrize(
    "name",
    [
        "Calls",
        "my-mart",
        "calls (1)",
        "2025",
        "order",
        "changed",
        "pipeline_status",
        "duckdb_tables",
        "sqlite_master",
    ],
)
def test_a_file_whose_name_cannot_be_a_table_is_left_out(tmp_path: Path, name: str) -> None:
    """Names that SQL reads differently, or that we or DuckDB use, are named before anything is built."""
    write_model(tmp_path, name, "select 1 as one")
    assert load_sql(tmp_path).models == ()
    (unusable,) = load_sql(tmp_path).unusable
    assert f"`{name}` can't be the name of a table. Rename the file" in unusable.problem


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from CALLS",
        'select count(*) from Main."Calls"',
        "with calls as (select * from main.calls) select count(*) from calls",
        "select (with calls as (select 1) select count(*) from calls), count(*) from calls",
    ],
)
def test_a_table_is_found_in_any_spelling(tmp_path: Path, sql: str) -> None:
    """Otherwise a model could be built before the tables that it reads, and miss their changes."""
    write_model(tmp_path, "calls", "select 1 as call_id")
    write_model(tmp_path, "a", sql)
    (model,) = (model for model in load_sql(tmp_path).models if model.name == "a")
    assert model.upstream == {"calls"}


def test_a_check_without_a_table_cannot_be_used(tmp_path: Path) -> None:
    """It would never run, and is said to be left out."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "mine.sql").write_text("select 1 as one")
    assert load_sql(tmp_path).checks == ()
    (unusable,) = load_sql(tmp_path).unusable
    assert "mine.sql: its header has no `on:`" in unusable.problem


def test_models_that_read_each_other_wait_alone(tmp_path: Path) -> None:
    """The problem names the models in the circle. What reads them comes after them."""
    for name, read in {"a": "b", "b": "a", "c": "a", "d": "d2", "d2": "d", "e": "x"}.items():
        write_model(tmp_path, name, f"from {read}")
    problems = {model.name: model.problem for model in load_sql(tmp_path).models}
    assert "a -> b -> a" in problems["a"]
    assert problems["a"] == problems["b"] != problems["d"] == problems["d2"]
    assert problems["c"] == problems["e"] == ""
    assert list(problems).index("c") > list(problems).index("a")


def test_a_model_is_built_again_when_a_function_that_it_calls_changes(tmp_path: Path) -> None:
    """A function belongs to the fingerprint of the models that call it, and of no other model."""
    function = tmp_path / "functions" / "doubled.sql"
    function.parent.mkdir()
    write_model(tmp_path, "caller", "select doubled(number) as number from numbers")
    write_model(tmp_path, "other", "select number from numbers")
    fingerprints = []
    for expression in ("number * 2", "number + number"):
        function.write_text(f"-- Twice a number.\n--\n-- parameters: number\n{expression}\n")
        fingerprints.append({model.name: model.fingerprint for model in load_sql(tmp_path).models})
    assert fingerprints[0]["other"] == fingerprints[1]["other"]
    assert fingerprints[0]["caller"] != fingerprints[1]["caller"]
