"""`query` prints every value whole and valid, whatever its type, and in memory that does not grow."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.command import Query, typing_in
from support.data_folder import DataFolder

from pipelines.cli import main
from pipelines.cli.output import show

LEAVES = st.sampled_from(
    [
        "date 'infinity'",
        "date '-infinity'",
        "date '0044-03-15 (BC)'",
        "date '2025-11-10'",
        "timestamp 'infinity'",
        "timestamp '290000-01-01 00:00:00'",
        "timestamp_ns '2025-11-10 00:00:00.123456789'",
        "timestamptz '-infinity'",
        "timestamptz '2025-11-10 00:00:00.5+00'",
        "interval '13 months 2 days 3.5 seconds'",
        "time '24:00:00'",
        "'12:00:00+02'::timetz",
        "'10101'::bit",
        "'0a5c1f0e-8d3c-4c0b-9f6e-1d2c3b4a5f6e'::uuid",
        "(-170141183460469231731687303715884105728)::hugeint",
        "340282366920938463463374607431768211455::uhugeint",
        "99999999999999999999999999999999999.99::decimal(38, 2)",
        "'nan'::double",
        "'-inf'::double",
        "'inf'::float",
        "-0.0::double",
        "0.1::double",
        "true",
        "'b'::enum('a', 'b')",
        "null",
        "''",
        "'null'",
        "chr(0) || chr(27) || chr(13) || chr(133)",
        "'a,\"b\"' || chr(10) || 'c'",
        "'あ🎉'",
        "'{\"a\": 1}'::json",
        "'a b'::blob",
    ]
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        inner.map(lambda value: f"[{value}, null]"),
        inner.map(lambda value: f"array_value({value}, {value})"),
        st.tuples(inner, inner).map(lambda pair: f"{{'a ''b\"': {pair[0]}, 'c': {pair[1]}}}"),
        inner.map(lambda value: f"map {{'k': {value}}}"),
        inner.map(lambda value: f"map {{{{'x': 1}}: {value}}}"),
        inner.map(lambda value: f"union_value(u := {value})"),
    )


VALUES = st.recursive(LEAVES, nested, max_leaves=4)
# Runs a command, then prints the largest memory of its process [KiB].
MEASURED = """
import resource, sys
from pipelines.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
NAMES = st.text(min_size=1, max_size=4).filter(lambda name: name.encode(errors="ignore") and "\0" not in name)


def as_text(value: Any) -> list[str]:  # noqa: ANN401 - any JSON
    """The texts and numbers in a value as JSON holds it."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in as_text(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in as_text(inner)]
    return [] if value is None else [str(value).lower()]


def in_duckdb(sql: str) -> list[str]:
    """The same, as DuckDB itself writes it."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        row = connection.execute(f"select ({sql})::varchar").fetchone()
    assert row
    return [] if row[0] is None else [row[0].lower()]


@given(value=LEAVES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_is_the_one_that_duckdb_has(query: Query, value: str) -> None:
    """No infinite date becomes the year 9999, no month 30 days, and no nanosecond is cut off."""
    for form in ("json", "csv"):
        done = query(f"select {value} as v, [{value}] as list, 1 as one", "--format", form)
        assert done.exit_code == 0, done.output
        if form == "json":
            row = json.loads(done.stdout, parse_constant=pytest.fail)
            assert as_text(row["v"]) == as_text(row["list"])
            shown = as_text(row["v"])
        else:
            _, row = csv.reader(io.StringIO(done.stdout, newline=""))
            shown = [row[0].lower()] if row[0] else []
        expected = [text for text in in_duckdb(value) if text or form == "json"]
        assert shown == expected


@given(value=VALUES, name=NAMES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_form_prints_any_value_under_any_name_once(query: Query, value: str, name: str) -> None:
    """JSON parses as JSON, CSV has one field for each column, and a table has the other column, too."""
    column = '"' + name.replace('"', '""') + '"'
    sql = f"select {value} as {column}, 'last' as {column}"
    table, lines, fields = (query(sql, "--format", form) for form in ("table", "json", "csv"))
    assert (table.exit_code, lines.exit_code, fields.exit_code) == (0, 0, 0), table.output
    (row,) = [json.loads(line, parse_constant=pytest.fail) for line in lines.stdout.split("\n") if line]
    assert len(row) == 2
    assert list(row.values())[1] == "last"
    header, cells = csv.reader(io.StringIO(fields.stdout, newline=""))
    assert (header, cells[1]) == ([name, name], "last")
    assert "last" in table.stdout


def test_json_in_an_ascii_pipe_is_json(published: DataFolder, tmp_path: Path) -> None:
    """A pipe that can't hold a character gets JSON's escapes of it."""
    run = typing_in(tmp_path)
    settings = {"VERBEX_DATA_DIR": str(published.path), "PYTHONIOENCODING": "ascii"}
    done = run("query", "select 'é あ 🎉' as x", "--format", "json", **settings)
    assert done.stdout.isascii()
    assert json.loads(done.stdout) == {"x": "é あ 🎉"}


def test_a_table_shows_a_sum_as_people_write_it(query: Query) -> None:
    """Programs get every digit."""
    sql = "select 0.1::double + 0.2::double as total, 100::double as round"
    table = query(sql).stdout
    assert " 0.3 " in table
    assert " 100.0 " in table
    assert query(sql, "--format", "csv").stdout == "total,round\n0.30000000000000004,100.0\n"


def test_null_and_an_empty_text_differ_in_csv(query: Query) -> None:
    """As DuckDB's own reader and writer have it."""
    assert query("select null as a, '' as b, 1 as c", "--format", "csv").stdout == 'a,b,c\n,"",1\n'


@pytest.mark.parametrize("form", ["json", "csv"])
def test_lines_are_printed_before_the_last_row_is_known(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one row is held at a time, so memory does not grow with the rows."""
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    lengths = []

    def rows() -> Any:  # noqa: ANN401 - a generator
        for number in range(3):
            lengths.append(len(printed.getvalue()))
            yield [number]

    show(["n"], rows(), form)  # type: ignore[arg-type]
    assert lengths == sorted(set(lengths))


def test_rows_of_a_query_are_not_held_in_memory(published: DataFolder, tmp_path: Path) -> None:
    """Thirty times as many rows need no more memory, but for what any process varies by."""
    peaks = [peak_bytes(published, tmp_path, rows) for rows in (20_000, 600_000)]
    assert peaks[1] < peaks[0] + 60_000_000


def test_a_table_shows_the_first_rows_and_counts_the_rest(query: Query) -> None:
    """A person can't read more, and a table must be measured as a whole."""
    done = query("select i from range(2500) t(i)")
    assert "999" in done.stdout
    assert "1000" not in done.stdout
    assert "1,500 more rows left out." in done.stderr


@pytest.mark.parametrize("sql", ["", " ", ";", "; ;", "/* nothing */", "\n-- nothing"])
def test_what_has_no_statement_is_refused_in_words(query: Query, sql: str) -> None:
    """Nothing typed, or only a comment."""
    done = query(sql)
    assert (done.exit_code, done.stderr) == (2, "There is no SQL statement in what was typed.\n")


def test_no_rows_of_an_earlier_statement_are_dropped_silently(query: Query) -> None:
    """Only the last statement may return rows; the others may prepare it."""
    refused = query("select 1; select 2")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "last statement" in refused.stderr
    prepared = query("create temp table t as select 5 as x; from t -- done", "--format", "json")
    assert json.loads(prepared.stdout) == {"x": 5}


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select 1 as x where false", 0),
        ("select 1 as x;", 1),
        ("select 1 as x -- the end", 1),
        ("explain select 1", 1),
        ("describe select 1 as x", 1),
        ("pivot (select 'a' as k, date 'infinity' as v) on k using max(v)", 1),
        ("begin", 0),
    ],
)
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_any_kind_of_statement_is_shown(query: Query, sql: str, rows: int, form: str) -> None:
    """Also one without rows or without columns."""
    done = query(sql, "--format", form)
    assert done.exit_code == 0, done.output
    if form == "json":
        assert len(done.stdout.splitlines()) == rows
    assert "9999" not in done.stdout


def test_sql_that_is_not_text_is_refused_in_words(query: Query) -> None:
    """From standard input, or typed."""
    done = CliRunner().invoke(main, ["query", "-"], input=b"select '\xff'")
    assert (done.exit_code, done.stderr) == (2, "The SQL is not valid UTF-8.\n")
    assert query("select '\udcff'").stderr == "The SQL is not valid UTF-8.\n"


def peak_bytes(published: DataFolder, folder: Path, rows: int) -> int:
    """Print so many rows as CSV in a process of its own, and return its largest memory."""
    sql = "select i, 'text ' || i as t, timestamp '2025-11-10' as at from range({}) t(i)"
    printed = typing_in(folder, MEASURED)(
        "query",
        sql.format(rows),
        "--format",
        "csv",
        VERBEX_DATA_DIR=str(published.path),
    )
    assert printed.stdout.count("\n") == rows + 1
    return int(printed.stderr) * 1024


def test_times_are_shown_in_the_time_zone_of_the_settings(
    query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they fit the days and hours of the tables. The offset stands behind them."""
    monkeypatch.setenv("VERBEX_TIME_ZONE", "Asia/Tokyo")
    shown = query("select timestamptz '2025-11-10 20:00:00+00' as at", "--format", "csv").stdout
    assert shown == "at\n2025-11-11 05:00:00+09\n"
