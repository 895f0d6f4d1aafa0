"""`query --question` and `--list`: what people read, what programs get, and questions of a customer's own."""

import csv
import io
import json
from pathlib import Path

import pytest
from support.command import Query

from pipelines.models.load import load_questions
from pipelines.models.model import Question
from pipelines.models.sql_file import sql_folder

OURS = {question.name: question for question in load_questions(sql_folder())}
BUSY = (
    "-- Is it busy?\n--\n-- columns:\n--   calls bigint: calls [count]\nselect count(*) as calls from calls"
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The customer's folder of questions, with one in it."""
    monkeypatch.setenv("VERBEX_SQL_DIR", "sql")
    folder = tmp_path / "sql" / "questions"
    folder.mkdir(parents=True)
    (folder / "busy.sql").write_text(BUSY)
    return folder


@pytest.mark.parametrize("name", OURS)
def test_every_question_can_be_asked_before_the_first_call(query: Query, name: str) -> None:
    """In every form: a share of no calls is no error."""
    answers = {form: query("--question", name, "--format", form) for form in ("table", "json", "csv")}
    assert [answer.exit_code for answer in answers.values()] == [0, 0, 0], answers["table"].output
    (header, *_) = csv.reader(io.StringIO(answers["csv"].stdout))
    assert header == [column.name for column in OURS[name].columns]


@pytest.mark.parametrize("question", OURS.values(), ids=lambda question: question.name)
def test_every_question_of_ours_describes_itself(question: Question) -> None:
    """It asks in its first line, and every number has its unit, or is one that needs none."""
    assert not question.problem
    assert question.text.endswith("?")
    for column in question.columns:
        is_number = column.type in ("bigint", "double")
        has_unit = column.description.endswith(("[count]", "[s]", "[%]"))
        assert has_unit or not is_number or column.name in ("hour", "weekday", "mean_number"), column.name
        assert not column.name.endswith("_s") or column.description.endswith("[s]")
        assert not column.name.endswith("percent") or column.description.endswith("[%]")


@pytest.mark.usefixtures("own")
def test_the_list_has_every_question(query: Query) -> None:
    """Ours and the customer's, for people as for programs."""
    lines = [json.loads(line) for line in query("--list", "--format", "json").stdout.splitlines()]
    expected = {name: question.text for name, question in OURS.items()} | {"busy": "Is it busy?"}
    assert {line["name"]: line["question"] for line in lines} == expected
    fields = list(csv.reader(io.StringIO(query("--list", "--format", "csv").stdout)))
    assert fields == [["name", "question"], *([line["name"], line["question"]] for line in lines)]
    shown = query("--list").stdout
    assert [line.split()[0] for line in shown.splitlines() if not line.startswith("   ")] == list(expected)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.usefixtures("own")
def test_people_read_what_the_numbers_mean_and_programs_get_rows_alone(query: Query) -> None:
    """The question, the answer, and each column with its unit."""
    shown = query("--question", "busy").stdout
    assert shown.startswith("Is it busy?\n")
    assert shown.endswith("calls  calls [count]\n")
    assert query("--question", "busy", "--format", "csv").stdout == "calls\n0\n"
    assert query("--question", "busy", "--format", "json").stdout == '{"calls": 0}\n'


def test_people_read_numbers_with_one_digit_and_programs_get_all(query: Query, own: Path) -> None:
    """A third of a percent helps no person."""
    (own / "third.sql").write_text("-- A third?\nselect 100 / 3 as third_percent")
    assert "│          33.3 │" in query("--question", "third").stdout
    whole = json.loads(query("--question", "third", "--format", "json").stdout)
    assert whole == {"third_percent": 100 / 3}


def test_own_questions_call_own_functions_and_those_that_came_with_it(query: Query, own: Path) -> None:
    """As own marts do."""
    (own.parent / "functions").mkdir()
    (own.parent / "functions" / "doubled.sql").write_text("-- Twice.\n--\n-- parameters: number\nnumber * 2")
    (own / "both.sql").write_text("-- Both?\nselect doubled(4) as n, agent_label(null) as agent")
    answer = query("--question", "both", "--format", "json")
    assert json.loads(answer.stdout) == {"n": 8, "agent": "(unknown)"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- A?\nselec 1", "is not one SELECT"),
        ("-- A?\nselect 1 as a; select 2 as b", "is not one SELECT"),
        ("-- A?\n-- colums:\nselect 1 as a", "sql/questions/mine.sql:2: a header has no field"),
        ("-- A?\nselect no_such(1) as a", "sql/questions/mine.sql failed: Catalog Error"),
        ("-- A?\nselect a from no_such", "sql/questions/mine.sql failed: Catalog Error"),
        ("-- A?\nfrom read_text('/etc/hosts')", "sql/questions/mine.sql failed: Permission Error"),
        (
            "-- A?\n--\n-- columns:\n--   a bigint: a\n--   b bigint: b\nselect 1 as b, 2 as a",
            "mine.sql:3: it describes the columns a, b, but its SELECT has b, a. Fix one of them.",
        ),
    ],
    ids=["no SQL", "two statements", "field", "function", "table", "file", "columns"],
)
def test_a_question_that_cannot_be_answered_is_named_with_the_cause(
    query: Query, own: Path, text: str, complaint: str
) -> None:
    """The others can be asked."""
    (own / "mine.sql").write_text(text)
    refused = query("--question", "mine")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert complaint in refused.stderr
    assert query("--question", "busy", "--format", "csv").stdout == "calls\n0\n"
    listed = query("--list", "--format", "json")
    assert listed.exit_code == 0
    assert '"busy"' in listed.stdout
    assert ('"mine"' in listed.stdout) == (complaint not in listed.stderr)


def test_a_question_with_the_name_of_one_of_ours_is_refused(query: Query, own: Path) -> None:
    """Which one is meant would be a guess; the error names both files."""
    (own / "containment.sql").write_text("-- A?\nselect 1 as a")
    refused = query("--question", "containment")
    assert refused.exit_code != 0
    assert "sql/questions/containment.sql has the name of" in refused.stderr
    assert str(sql_folder() / "questions" / "containment.sql") in refused.stderr


def test_a_question_that_is_not_there_is_named_with_the_nearest_that_is(query: Query) -> None:
    """And with the way to see all."""
    refused = query("--question", "containmint")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "There is no question containmint. Do you mean containment?" in refused.stderr
    assert "`verbex-sync query --list`" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("select 1", "--list"), ("select 1", "--question", "containment"), ("--list", "--question", "a")],
)
def test_sql_a_question_or_the_list_one_of_them_is_typed(query: Query, words: tuple[str, ...]) -> None:
    """Not two, and not none."""
    refused = query(*words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "SQL, `--question NAME` or `--list`" in refused.stderr
