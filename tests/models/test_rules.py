"""What files of SQL may say: each mistake is refused with its file and line, or taken as it is meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.models.load import load_questions, load_sql
from pipelines.models.sql_file import ModelError

CALLS = "-- Calls.\n--\n-- grain: call_id\n-- columns:\n--   call_id varchar: the call\nselect 'a' as call_id"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a function that writes a file of SQL. The folder has a model `calls` and one that reads it."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    write("core/calls.sql", CALLS)
    write("marts/daily.sql", "select count(*) as calls from calls")
    return write


def load(folder: Path) -> None:
    """Load all files. A mart, question, check or function that can't be used has a problem instead."""
    for problem in [
        *(model.problem for model in load_sql(folder).models),
        *(each.problem for each in load_sql(folder).unusable),
        *(question.problem for question in load_questions(folder)),
    ]:
        if problem:
            raise ModelError(problem)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("-- A.\n-- grain: one row for each call", 2),
        ("-- A.\n-- grain: call_id\n-- and so on", 3),
        ("-- A.\n-- graim: call_id", 2),
        ("-- A.\n-- grain: call_id\n-- not nul: call_id", 3),
        ("-- A.\n-- grain: call_id\n-- grain: agent_id", 3),
        ("-- A.\n-- grain:", 2),
        ("-- A.\n-- schema: x", 2),
        ("-- A.\n-- grain: day\n-- columns:\n--   call_id varchar: a", 2),
        ("-- A.\n-- not null: day\n-- columns:\n--   call_id varchar: a", 2),
        ("-- A.\n-- columns:\n--   call_id varchar a", 3),
        ("-- A.\n-- grain: call_id\n-- changed by callz: select call_id", 3),
        ("-- A.\n-- grain: call_id\n-- ignores callz: day", 3),
        ("-- A.\n-- grain: call_id\n-- changed by calls: selec call_id", 3),
        ("-- A.\n-- grain = call_id", 2),
        ("/* A.\n * grain: call_id */", 2),
        ("-- A.\n/* grain: call_id */", 2),
        ("-- A.\nwith a as (select 1)\n  -- grain: call_id", 3),
    ],
)
def test_a_header_that_is_not_what_it_seems_is_refused_with_its_line(
    write: Callable[[str, str], Path], tmp_path: Path, header: str, line: int
) -> None:
    """Nothing in a header is left out in silence."""
    write("marts/mine.sql", f"{header}\nselect call_id from calls")
    with pytest.raises(ModelError, match=rf"marts/mine.sql:{line}\b"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "sql", "complaint"),
    [
        *(
            ("mine", f"from calls where {asking}", "gives other rows each time")
            for asking in (
                "now() > $at",
                "current_date > '2025-01-01'",
                "age('2025-01-01'::timestamp) > interval 1 day",
                "random() < 0.5",
                "current_setting('threads')::int > 1",
                "aged('2025-01-01')",
            )
        ),
        ("mine", "select call_id from calls using sample 5%", "`using sample` gives other rows"),
        ("mine", "from (show tables)", "reads rows from `show"),
        ("mine", "select * from (summarize calls)", "reads rows from `summary"),
        ("mine", "select call_id from calls limit $n", r"nothing gives it `\$n`"),
        (
            "mine",
            "-- A.\n-- grain: call_id\n-- columns:\n--   call_id varchar hidden: id\nfrom calls",
            "mine.sql:2: it names `call_id`, which `columns:` hides",
        ),
        (
            "mine",
            "-- A.\n-- columns:\n--   call_id varchar hidden: id\nfrom calls select call_id",
            "mine.sql:2: it hides every column",
        ),
        ("loads", "-- A.\n-- schema: ops\nselect 1 as one", "ops.loads is bookkeeping of ours"),
        ("pending_calls", "-- A.\n-- schema: ops\nselect 1 as one", "ops.pending_calls is bookkeeping"),
        ("ops_sweeps", "select 1 as one", "taken by bookkeeping of ops.sweeps"),
    ],
)
def test_a_model_that_would_spoil_or_that_asks_something_else_than_tables_is_refused(
    write: Callable[[str, str], Path], tmp_path: Path, name: str, sql: str, complaint: str
) -> None:
    """It would be old in silence, or differ from its rebuild, or take the place of our own tables."""
    write("functions/aged.sql", "-- A.\n-- parameters: day\ntoday() > day")
    write("core/sweeps.sql", "-- A.\n-- schema: ops\nselect 1 as one")
    write(f"marts/{name}.sql", sql)
    with pytest.raises(ModelError, match=complaint):
        load(tmp_path)


def test_a_header_is_taken_as_it_is_meant(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    """In any case, after an empty line, with `main` before a table, and with words of fields in its prose."""
    text = (
        "\n-- The grain: see below. On: off.\n\n-- Grain\uff1acall_id\n--not null:call_id\n-- SCHEMA: Ops\n"
    )
    write("marts/mine.sql", f"{text}-- changed by main.Calls: select call_id\nfrom Calls select call_id")
    (model,) = (model for model in load_sql(tmp_path).models if model.name == "mine")
    assert (model.table, model.grain, model.listed("not null")) == ("ops.mine", ("call_id",), ("call_id",))
    assert model.changed_by("calls") == "select call_id"
    assert model.description == "The grain: see below. On: off."
    write("checks/mine.sql", "-- A.\n-- on: main.Calls\n-- severity: WARN\nfrom calls")
    write("checks/timed.sql", "-- A.\n-- on: calls\nselect '$as_of' as a from calls -- without $as_of")
    mine, timed = load_sql(tmp_path).checks
    assert (mine.model, mine.is_blocking) == ("calls", False)
    assert (timed.is_blocking, timed.parameters) == (True, frozenset())


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("mine", "-- A.\n-- on: callz\nfrom calls", "mine.sql:2: there is no table `callz`"),
        ("mine", "-- A.\n-- on: calls\n-- severity: fatal\nfrom calls", "mine.sql:3: the severity is"),
        (
            "mine",
            "-- A.\n-- on: calls\nfrom daily",
            "mine.sql:2: the check reads daily, which is made from calls",
        ),
        ("mine", "-- A.\n-- on: calls\nselect $as_of", "depend on the time of a load"),
        ("mine", "-- A.\n-- on: calls\nselect $LONGEST_call_s", "make the tables depend on a setting"),
        ("mine", "-- A.\n-- on: calls\n-- severity: warn\nselect $since", r"nothing gives it `\$since`"),
        ("mine", "-- A.\n-- on: calls\n-- severity: warn\nfrom calls limit ?", r"nothing gives it `\$1`"),
        ("mine", "-- A.\n-- on: calls\nfrom glob('*')", r"reads rows from `glob\(\)`"),
        ("mine", "-- A.\n-- on: calls\nselec 1", "is not one SELECT"),
        ("mine", "-- A.\n-- on: calls\nselect 1 where now() > $$2025-01-01$$", "`now` gives other rows"),
        (
            "mine",
            "-- A.\n-- on: calls\nfrom pipeline_status",
            "reads `pipeline_status`, which no model makes",
        ),
        ("no-negative", "-- A.\n-- on: calls\nfrom calls", "`no-negative` can't be the name of a check"),
        ("not_null", "-- A.\n-- on: calls\nfrom calls", "`not_null` can't be the name of a check"),
        ("unique_grain", "-- A.\n-- on: calls\nfrom calls", "`unique_grain` can't be the name"),
        ("landed_files_are_readable", "-- A.\n-- on: calls\nfrom calls", "can't be the name of a check"),
    ],
)
def test_a_check_that_would_not_run_as_written_is_refused(
    write: Callable[[str, str], Path], tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    """None is left out, or weakened, in silence."""
    write(f"checks/{name}.sql", text)
    with pytest.raises(ModelError, match=complaint):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("my-function", "-- A.\n-- parameters: a\na", "can't be the name of a function"),
        ("lower", "-- A.\n-- parameters: a\na", "`lower` can't be the name of a function"),
        ("mine", "-- A.\n-- parameters: a b\na", "mine.sql:2: `a b` is not the name"),
        ("mine", "-- A.\n-- parameter: a\na", "mine.sql:2: a header has no field"),
        ("mine", "-- A.\n-- parameters: a\na +", "is not one SELECT"),
        ("mine", "-- A.\n-- parameters: a\na; drop table calls", "is not one SELECT"),
        ("mine", "-- A.\n-- parameters: a\nmine(a)", "calls itself"),
        ("mine", "-- A.\n-- parameters: a\nnot_there(a)", "mine.sql can't be used.*not_there"),
        ("mine", "-- A.\n-- parameters: a\na + b", "mine.sql can't be used.*b"),
        ("mine", "-- A.\n-- parameters: a\na + $b", r"nothing gives it `\$b`"),
        ("mine", "-- A.\n-- parameters: a\nother(a)", "in a circle"),
    ],
)
def test_a_function_that_cannot_work_is_refused(
    write: Callable[[str, str], Path], tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    """By its name, before anything is built."""
    write("functions/other.sql", "-- A.\n-- parameters: a\nmine(a)")
    if "other" not in text:
        write("functions/other.sql", "-- A.\n1")
    write(f"functions/{name}.sql", text)
    with pytest.raises(ModelError, match=complaint):
        load(tmp_path)


def test_what_a_function_reads_is_read_by_the_models_that_call_it(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """Directly, by another function, by a table's name that it is given, and in any spelling."""
    write("functions/most.sql", "-- A.\n(select count(*) from calls)")
    write("functions/twice.sql", "-- A.\n2 * most()")
    write("functions/counted.sql", "-- A.\n-- parameters: rows\nselect count(*) as n from query_table(rows)")
    write("marts/a.sql", "select TWICE() as n")
    write("marts/b.sql", "from counted(daily)")
    write("marts/c.sql", "with own as (select 1) select * from counted('own'), query_table('main.Daily')")
    models = {model.name: model for model in load_sql(tmp_path).models}
    assert models["a"].upstream == {"calls"}
    assert models["b"].upstream == {"daily"}
    assert models["c"].upstream == {"daily"}
    assert [function.name for function in models["a"].functions] == ["most", "twice"]
    assert {function.name for function in load_sql(tmp_path).functions} == {"counted", "most", "twice"}


@pytest.mark.parametrize("name", [".#daily.sql", "._daily.sql", ".daily.sql.swp", "daily.sql~", "notes.txt"])
def test_what_editors_leave_behind_is_passed_over(
    write: Callable[[str, str], Path], tmp_path: Path, name: str
) -> None:
    """Whatever is in it, and in every folder of SQL."""
    for folder in ("marts", "checks", "functions", "queries", "questions", ".git"):
        write(f"{folder}/{name}", "").write_bytes(b"\0\5\26\7\xff")
    (tmp_path / "marts" / ".#lock.sql").symlink_to("me@host.1:2")
    load(tmp_path)


@pytest.mark.parametrize("folder", ["marts", "checks", "functions", "questions"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "shift_jis"])
def test_a_file_in_another_encoding_is_refused_by_name(
    write: Callable[[str, str], Path], tmp_path: Path, folder: str, encoding: str
) -> None:
    """And not by a traceback."""
    write(f"{folder}/mine.sql", "").write_bytes("-- 通話\n-- on: calls\nselect 1 as a".encode(encoding))
    with pytest.raises(ModelError, match=rf"{folder}/mine.sql is not UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "marts/mine.SQL",
        "marts/team/mine.sql",
        "mine.sql",
        "marts/mine.sql/x.sql",
        "questions/mine.SQL",
        "questions/team/mine.sql",
    ],
)
def test_a_file_that_is_not_where_models_are_is_refused_by_name(
    write: Callable[[str, str], Path], tmp_path: Path, name: str
) -> None:
    """It would never be built."""
    write(name, "select 1 as a")
    with pytest.raises(ModelError, match="mine"):
        load(tmp_path)


def test_a_link_to_nothing_is_refused_by_name(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    """A backup may have such links."""
    write("marts/other.sql", "select 1 as a")
    (tmp_path / "marts" / "mine.sql").symlink_to("nowhere.sql")
    with pytest.raises(ModelError, match=r"marts/mine.sql can't be read"):
        load(tmp_path)


def test_a_table_that_our_own_queries_read_cannot_be_removed(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """The error names the table and the query, instead of one command after the other failing."""
    write("queries/busy.sql", "-- A.\nselect * from agent_daily")
    with pytest.raises(
        ModelError, match=r"no model of the table agent_daily, which .*/queries/busy.sql reads"
    ):
        load(tmp_path)


def test_an_answer_hides_nothing(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    """A question leaves out what it does not tell."""
    write("questions/mine.sql", "-- A?\n-- columns:\n--   one bigint hidden: a\nselect 1 as one")
    with pytest.raises(ModelError, match=r"mine\.sql:2: only models hide columns"):
        load(tmp_path)
