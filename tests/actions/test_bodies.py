"""What is sent of a row: JSON that says the same values, whatever the types and names of its columns."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.actions.decide import Wanted, list_wanted
from pipelines.models.rule import Rule
from pipelines.models.rule_files import read_rule
from pipelines.warehouse.catalog import quoted

RULE = """-- A test.
--
-- action: http
-- once per: call_id
-- not before: early_at
select 'c' as call_id, early_at, happened_at from calls
"""


@dataclass(frozen=True, eq=False)
class Moment:
    """A moment, which any text that says it is equal to."""

    at: datetime

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and datetime.fromisoformat(other) == self.at

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True, eq=False)
class Double:
    """A number with the precision of a double, which any number that is read as it is equal to."""

    value: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | Decimal) and float(other) == self.value

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True, eq=False)
class Blob:
    """Bytes, which the text that DuckDB writes for them is equal to."""

    value: bytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        return re.sub(r"\\x([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), other) == self.value.decode(
            "latin-1"
        )

    def __hash__(self) -> int:
        return 0


class Value(NamedTuple):
    """A value in SQL, with its type, and what JSON must say of it."""

    kind: str
    sql: str
    said: Any


def text_sql(text: str) -> str:
    """Return a text as SQL. NUL can't be part of a statement."""
    return "(" + " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in text.split("\0")) + ")"


def typed(kind: str, text: str, said: Any) -> Value:  # noqa: ANN401 - any JSON value
    return Value(kind, f"{text_sql(text)}::{kind}", said)


def double(number: float, kind: str = "double") -> Value:
    is_finite = abs(number) < float("inf")
    return typed(kind, str(number), Double(number) if is_finite else None)


def json_value(value: Any) -> Value:  # noqa: ANN401 - any JSON value
    return typed("json", json.dumps(value), as_said(value))


def as_said(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: as_said(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_said(inner) for inner in value]
    return double(value).said if isinstance(value, float) else value


def list_value(values: list[Value]) -> Value:
    return Value(
        f"{values[0].kind}[]",
        "[" + ", ".join(each.sql for each in values) + "]",
        [each.said for each in values],
    )


def struct_value(fields: dict[str, Value]) -> Value:
    kind = ", ".join(f"{quoted(name)} {each.kind}" for name, each in fields.items())
    sql = ", ".join(f"{text_sql(name)[1:-1]}: {each.sql}" for name, each in fields.items())
    return Value(f"struct({kind})", f"{{{sql}}}", {name: each.said for name, each in fields.items()})


def map_value(keys: list[str], value: Value) -> Value:
    listed = ", ".join(map(text_sql, keys))
    return Value(
        f"map(varchar, {value.kind})",
        f"map([{listed}]::varchar[], [{', '.join([value.sql] * len(keys))}]::{value.kind}[])",
        dict.fromkeys(keys, value.said),
    )


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
numbers = st.floats(allow_subnormal=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
scalars = st.one_of(
    texts.map(lambda text: Value("varchar", text_sql(text), text)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: typed("bigint", str(number), number)),
    st.integers(-(2**127), 2**127 - 1).map(lambda number: typed("hugeint", str(number), number)),
    st.decimals(-(10**29) + 1, 10**29 - 1, places=9).map(
        lambda number: typed("decimal(38, 9)", f"{number:f}", number)
    ),
    numbers.map(double),
    st.floats(width=32, allow_subnormal=False).map(lambda number: double(number, "float")),
    st.booleans().map(lambda flag: typed("boolean", str(flag), flag)),
    moments.map(lambda at: typed("timestamptz", at.isoformat(), Moment(at))),
    st.dates(date(1, 1, 1)).map(lambda day: typed("date", day.isoformat(), day.isoformat())),
    st.uuids().map(lambda found: typed("uuid", str(found), str(found))),
    st.binary().map(lambda found: Value("blob", f"unhex('{found.hex()}')", Blob(found))),
    json_values.map(json_value),
    st.sampled_from(["varchar", "timestamptz", "double", "json", "map(varchar, varchar)", "integer[]"]).map(
        lambda kind: Value(kind, f"null::{kind}", None)
    ),
)


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        inner.map(lambda value: list_value([value, value])),
        st.dictionaries(names, inner, min_size=1, max_size=3)
        .filter(lambda fields: len({name.lower() for name in fields}) == len(fields))
        .map(struct_value),
        st.tuples(st.lists(texts, max_size=3, unique=True), inner).map(lambda found: map_value(*found)),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'")
        opened.execute("create schema rules; create schema stored")
        opened.execute(
            "create table stored.actions "
            "(rule varchar, identity varchar, revision integer, cause varchar, identity_hash ubigint)"
        )
        opened.execute(
            "create table stored.calls (call_id varchar, started_at timestamptz, started_source varchar, "
            "ended_at timestamptz, ended_source varchar)"
        )
        yield opened


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Rule:
    path = tmp_path_factory.mktemp("sql") / "rules" / "mine.sql"
    path.parent.mkdir()
    path.write_text(RULE, encoding="utf-8")
    return read_rule(path)


def wanted(connection: duckdb.DuckDBPyConnection, rule: Rule, **columns: str) -> Wanted:
    """Return what the rule wants of a row with these columns, each in SQL."""
    given = {
        "call_id": "'c'",
        "happened_at": "timestamptz '2026-01-02 03:04:05Z'",
        "early_at": "null::timestamptz",
        **columns,
    }
    listed = ", ".join(f"{sql} as {quoted(name)}" for name, sql in given.items())
    connection.execute(f"create or replace table rules.mine as select {listed}")
    (found,) = list_wanted(connection, rule, begins_at=None)
    return found


def read(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON as a strict reader does, and decimals to the last digit."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(body, parse_float=Decimal, parse_constant=refuse)


@given(
    columns=st.dictionaries(names, values, min_size=1, max_size=4).filter(
        lambda found: (
            len({name.lower() for name in found} | {"call_id", "happened_at", "early_at", "body"})
            == len(found) + 4
        )
    )
)
def test_a_row_becomes_json_that_says_the_same(
    connection: duckdb.DuckDBPyConnection, rule: Rule, columns: dict[str, Value]
) -> None:
    found = wanted(connection, rule, **{name: value.sql for name, value in columns.items()})
    assert read(found.body) == {
        "call_id": "c",
        "happened_at": "2026-01-02T03:04:05.000000Z",
        **{name: value.said for name, value in columns.items()},
    }


@given(value=values)
def test_a_column_body_is_sent_alone_and_says_the_same(
    connection: duckdb.DuckDBPyConnection, rule: Rule, value: Value
) -> None:
    assert read(wanted(connection, rule, body=value.sql, other="1").body) == value.said


def test_what_no_json_can_say_becomes_null_and_changes_nothing_beside_it(
    connection: duckdb.DuckDBPyConnection, rule: Rule
) -> None:
    odd = '\'{"a": nan, "b": [-Infinity, inf, 1e400], "NaN": "a NaN, \\"inf\\" \\\\"}\'::json'
    found = wanted(connection, rule, n="'nan'::double", d="12345678901234567890.123456789", j=odd)
    assert b'"n":null,"d":12345678901234567890.123456789,' in found.body
    assert read(found.body)["j"] == {
        "a": None,
        "b": [None, None, Decimal("1e400")],
        "NaN": 'a NaN, "inf" \\',
    }


def test_json_of_any_depth_stops_no_rule(connection: duckdb.DuckDBPyConnection, rule: Rule) -> None:
    depth = 20_000
    deep = "[" * depth + "]" * depth
    found = wanted(connection, rule, body=f"'{deep}'::json")
    assert found.body.decode() == deep


@pytest.mark.parametrize("moment", ["20000-01-01 00:00:00+00", "infinity", "0044-03-15 (BC) 00:00:00+00"])
def test_moments_that_no_calendar_has_stop_no_rule(
    connection: duckdb.DuckDBPyConnection, rule: Rule, moment: str
) -> None:
    found = wanted(
        connection, rule, happened_at=f"timestamptz '{moment}'", early_at=f"timestamptz '{moment}'"
    )
    action = found.as_action(datetime(2026, 1, 1, tzinfo=UTC))
    assert action.happened_at.tzinfo is not None
    assert (action.due_at.year == 2026) == ("BC" in moment)
