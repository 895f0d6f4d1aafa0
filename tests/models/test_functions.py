"""The expressions that models share, asked one by one."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.load import load_functions
from pipelines.models.sql_file import sql_folder

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the warehouse keeps times
YEAR_10000_S = 253_402_300_800


@pytest.fixture(scope="module", name="connection")
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows the functions, and no table."""
    with duckdb.connect() as connection:
        for function in load_functions(sql_folder()):
            connection.execute(function.definition)
        yield connection


@pytest.mark.parametrize("call_id", ["", "call-1", "0x12", "-1", "1_0", "通話", "ffffffffffffffffffffffff"])
def test_every_call_id_has_a_number(connection: duckdb.DuckDBPyConnection, call_id: str) -> None:
    """Ids of any shape have one, though only those of Verbex's shape are in order of time."""
    assert call_hashes(connection, call_id)[0] is not None


def test_numbers_of_call_ids_follow_the_second_in_which_they_were_made(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """The later id has the larger number; no id has none."""
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
    """As far as the nanosecond, and to the last year that is let in."""
    microseconds = int((seconds * 1_000_000).to_integral_value(ROUND_FLOOR))
    told = seconds.scaleb(9 - digits)
    assert moment(connection, f"{told:f}", digits) == EPOCH + timedelta(microseconds=microseconds)


@given(milliseconds=st.decimals(0, YEAR_10000_S, places=9))
def test_milliseconds_are_cut_however_many_digits_they_have(
    connection: duckdb.DuckDBPyConnection, milliseconds: Decimal
) -> None:
    """Nor is the nanosecond rounded, which could carry into the microsecond."""
    microseconds = int((milliseconds * 1000).to_integral_value(ROUND_FLOOR))
    assert moment(connection, f"{milliseconds:f}", 6) == EPOCH + timedelta(microseconds=microseconds)


@pytest.mark.parametrize(
    ("told", "microseconds"),
    [("1e-7", 0), ("1.5e0", 1_500_000), ("1700000000.0", 1_700_000_000_000_000), ("abc", None), ("", None)],
)
def test_a_moment_is_read_however_the_number_is_written(
    connection: duckdb.DuckDBPyConnection, told: str, microseconds: int | None
) -> None:
    """Numbers with an exponent are numbers; what is none has no moment."""
    expected = None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)
    assert moment(connection, told, 9) == expected


def moment(connection: duckdb.DuckDBPyConnection, told: str, digits: int) -> object:
    ((value,),) = connection.execute(f"select moment(?, {digits})", [told]).fetchall()
    return value


def call_hashes(connection: duckdb.DuckDBPyConnection, *call_ids: str | None) -> list[int | None]:
    rows = connection.execute("select call_hash(unnest(?::varchar[]))", [list(call_ids)]).fetchall()
    return [number for (number,) in rows]
