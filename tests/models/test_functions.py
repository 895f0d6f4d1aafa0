"""The expressions that models share, tested one by one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.load import load_sql
from pipelines.models.sql_file import sql_folder

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_10000_S = 253_402_300_800


@pytest.fixture(scope="module", name="connection")
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with the functions and without tables."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for function in load_sql(sql_folder()).functions:
            connection.execute(function.definition)
        yield connection


@pytest.mark.parametrize("call_id", ["", "call-1", "0x12", "-1", "1_0", "通話", "ffffffffffffffffffffffff"])
def test_every_call_id_has_a_number(connection: duckdb.DuckDBPyConnection, call_id: str) -> None:
    """Ids of any form have a number. Only the numbers of Verbex's own ids are in order of time."""
    assert call_hashes(connection, call_id)[0] is not None


def test_numbers_of_call_ids_follow_the_second_in_which_they_were_made(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """The later id has the larger number. A missing id has no number."""
    ids = ("6910366fffffffffffffffff", "691036700000000000000000", None)
    earlier, later, missing = call_hashes(connection, *ids)
    assert earlier is not None
    assert later is not None
    assert earlier < later
    assert missing is None


@given(
    seconds=st.decimals(0, YEAR_10000_S - 1, places=9) | st.integers(0, YEAR_10000_S - 1).map(Decimal),
    digits=st.sampled_from([9, 6]),
)
def test_a_moment_is_cut_to_the_microsecond_and_never_rounded(
    connection: duckdb.DuckDBPyConnection, seconds: Decimal, digits: int
) -> None:
    """This holds down to the nanosecond, and up to the last year that is accepted."""
    microseconds = int((seconds * 1_000_000).to_integral_value(ROUND_FLOOR))
    number = seconds.scaleb(9 - digits)
    assert moment(connection, f"{number:f}", digits) == EPOCH + timedelta(microseconds=microseconds)


@given(milliseconds=st.decimals(0, YEAR_10000_S, places=9))
def test_milliseconds_are_cut_with_any_number_of_digits(
    connection: duckdb.DuckDBPyConnection, milliseconds: Decimal
) -> None:
    """The nanosecond is not rounded either, because that could change the microsecond."""
    microseconds = int((milliseconds * 1000).to_integral_value(ROUND_FLOOR))
    assert moment(connection, f"{milliseconds:f}", 6) == EPOCH + timedelta(microseconds=microseconds)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("1e-7", 0), ("1.5e0", 1_500_000), ("1700000000.0", 1_700_000_000_000_000), ("abc", None), ("", None)],
)
def test_a_moment_is_read_from_any_form_of_number(
    connection: duckdb.DuckDBPyConnection, text: str, microseconds: int | None
) -> None:
    """Numbers with an exponent are numbers. A text that is no number has no moment."""
    expected = None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)
    assert moment(connection, text, 9) == expected


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,200", 1200),
        ("1,234,567.5", 1234567.5),
        ("85%", 85),
        ("\uff18\uff15\uff05", 85),
        ("\uff11\uff0c\uff12\uff10\uff10円", 1200),
        ("¥1,200", 1200),
        ("4 people", 4),
        ("3名様", 3),
        (" -7 ", -7),
        ("\u22125", -5),
        ("1e3", 1000),
        ("2 hours", None),
        ("90 min", None),
        ("5k", None),
        ("3万", None),
        ("1,5", None),
        ("12,34", None),
        ("1.200,5", None),
        ("5 out of 10", None),
        ("10-20", None),
        ("1st", None),
        ("about 5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_a_number_is_read_as_people_write_it_or_not_at_all(
    connection: duckdb.DuckDBPyConnection, written: str | None, number: float | None
) -> None:
    """Where a text could be read in two ways, it is no number."""
    assert connection.execute("select written_number(?)", [written]).fetchall() == [(number,)]


def moment(connection: duckdb.DuckDBPyConnection, text: str, digits: int) -> object:
    ((value,),) = connection.execute(f"select moment(?, {digits})", [text]).fetchall()
    return value


def call_hashes(connection: duckdb.DuckDBPyConnection, *call_ids: str | None) -> list[int | None]:
    rows = connection.execute("select call_hash(unnest(?::varchar[]))", [list(call_ids)]).fetchall()
    return [number for (number,) in rows]
