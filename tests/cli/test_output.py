"""What is printed: whatever is in the data, a terminal shows it and a program can read it."""

import json
from pathlib import Path

import pytest
from support.command import Query, Run
from support.data_folder import DataFolder

from pipelines.cli.output import show


@pytest.mark.parametrize(
    "text",
    [":smile:", "[bold]x[/bold]", "[/b]", "[link=https://example.com]x[/link]", "\\[x]", "a [red"],
)
@pytest.mark.parametrize("place", ["cell", "column"])
def test_data_that_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], text: str, place: str
) -> None:
    """Item names and results are a customer's own, and models write what they like."""
    show([text if place == "column" else "x"], [[text if place == "cell" else "x"]], "table")
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("char", ["\x1b", "\x07", "\x08", "\r", "\x7f", "\x9b", "\x9d", "\0"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_control_characters_never_reach_a_terminal(
    capsys: pytest.CaptureFixture[str], char: str, form: str
) -> None:
    """They could clear the screen, or hide what was printed before."""
    show(["x"], [[f"a{char}[31mb"], [{"key": f"{char}"}]], form)  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert char not in printed
    if form == "table":
        assert f"\\x{ord(char):02x}" in printed
    else:
        assert [json.loads(line)["x"] for line in printed.splitlines()] == [f"a{char}[31mb", {"key": char}]


def test_json_keeps_every_column_also_of_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A join gives such columns; an object would keep the last of them only."""
    show(["id", "id", "id_2", "id"], [[1, 2, 3, 4]], "json")
    assert json.loads(capsys.readouterr().out) == {"id": 1, "id_3": 2, "id_2": 3, "id_4": 4}


def test_json_is_json_whatever_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    """Most parsers refuse NaN and infinity."""
    show(["n"], [[float("nan")], [[float("inf")]], [{"a": float("-inf")}]], "json")
    lines = capsys.readouterr().out.splitlines()
    found = [json.loads(line, parse_constant=pytest.fail)["n"] for line in lines]
    assert found == ["nan", ["inf"], {"a": "-inf"}]


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to 'stolen.csv'",
        "export database 'stolen'",
        "select * from read_text('secret')",
        "select * from 'secret'",
        "attach 'stolen.duckdb'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "install httpfs",
    ],
)
def test_a_query_touches_no_file_and_unlocks_nothing(query: Query, tmp_path: Path, sql: str) -> None:
    """Read-only holds for the whole machine, not only for the tables."""
    (tmp_path / "secret").write_text("a key")
    done = query(sql)
    assert done.exit_code == 2
    assert "a key" not in done.output
    assert not list(tmp_path.glob("stolen*"))


def test_files_are_written_where_a_person_allows_it(run: Run, published: DataFolder, tmp_path: Path) -> None:
    """`--allow-files` is for those who want `copy`."""
    words = ("query", "--allow-files", "copy (select 1 as one) to 'mine.csv'")
    done = run(*words, VERBEX_DATA_DIR=str(published.path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.csv").read_text() == "one\n1\n"
