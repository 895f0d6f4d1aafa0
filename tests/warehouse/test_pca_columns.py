"""The columns of wide views: item names can be anything, and later answers never change earlier columns.

The SQL of `sql/` runs on answers as they land, in a separate database.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.landing.zones import ANSWER_SCHEMA
from pipelines.models.load import load_sql
from pipelines.models.sql_file import sql_folder
from pipelines.warehouse.catalog import create_empty, quoted
from pipelines.warehouse.wide_views import make_views

if TYPE_CHECKING:
    from pipelines.models.model import Model

MODELS = {model.table: model for model in load_sql(sql_folder()).models}
NOON = datetime(2025, 11, 9, 12, tzinfo=UTC)
BLANK = r"[\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\x00-\x1f\x7f-\x9f]"
FIXED = ["call_id", "agent_name", "started_at", "ended_at", "duration_s", "pca_status", "pca_fetched_at"]


class Item(NamedTuple):
    """One item of an analysis."""

    name: str | None
    type: str | None
    result: str = "1"


Answer = Sequence[Item]


class Seen(NamedTuple):
    """One column, and the item it shows."""

    column_name: str
    type: str
    key: str


class Tables:
    """The tables made from the answers of one agent. Call number n is analysed n minutes after noon."""

    def __init__(self, *, agent_id: str = "agent", is_counting: bool = False) -> None:
        self.sql = duckdb.connect()
        self.sql.execute("create schema ops")
        self.agent_id = agent_id
        self.rows_handled = 0
        self.is_counting = is_counting
        self._landed = 0
        made = ("ops.pca_seen_items", "ops.pca_configured_items", "pca", "calls_enriched", "agent_names")
        for table in made:
            columns = [(column.name, column.type) for column in MODELS[table].columns]
            create_empty(self.sql, f"table {table}", columns)

    def land(self, answers: Sequence[Answer]) -> None:
        """Load analyses, one for each of the next calls."""
        numbers = range(self._landed, self._landed + len(answers))
        self._landed += len(answers)
        rows = [self._row(number, answer) for number, answer in zip(numbers, answers, strict=True)]
        self.sql.register("landed_pca", pa.Table.from_pylist(rows, ANSWER_SCHEMA))
        self.sql.execute("create or replace temp table existing as from ops.pca_seen_items")
        self._make("ops.pca_seen_items", keys="select ? as agent_id", key=self.agent_id)
        self._make("pca_columns", keys="select ? as agent_id", key=self.agent_id)
        self._make("pca_views", keys="select ? as agent_id", key=self.agent_id)
        self.sql.execute(
            "insert into pca by name select call_id, agent_id, decode(body) as body from landed_pca"
        )
        self._make("pca_items", keys="select call_id from pca where agent_id = ?", key=self.agent_id)
        make_views(self.sql)

    def columns(self) -> list[Seen]:
        """Return the columns in their order."""
        rows = self.sql.execute("select column_name, type, key from pca_columns order by position").fetchall()
        return [Seen(*row) for row in rows]

    def view(self) -> list[dict[str, object]]:
        """Return the rows of the agent's view, by column name."""
        self.sql.execute("delete from calls_enriched")
        self.sql.execute(
            "insert into calls_enriched by name select call_id, agent_id, "
            "map_from_entries(list(struct_pack(key, value := result))) as pca, map_from_entries(list("
            "struct_pack(key, value := written_number(result)))) as pca_numbers from pca_items group by all"
        )
        ((name,),) = self.sql.execute("select view_name from pca_views").fetchall()
        result = self.sql.execute(f"from pca_wide.{quoted(name)} order by call_id")
        names = [name for name, *_ in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def _make(self, table: str, *, keys: str, key: str) -> None:
        model: Model = MODELS[table]
        for function in model.functions:
            self.sql.execute(function.definition)
        self.sql.execute(f"create or replace temp table changed as {keys}", [key])
        if self.is_counting:
            ((_, plan),) = self.sql.execute(f"explain (analyze, format json) {model.sql}").fetchall()
            self.rows_handled += _rows_in(json.loads(plan))
        self.sql.execute(f"create or replace table {table} as {model.sql}")

    def _row(self, number: int, answer: Answer) -> dict[str, object]:
        items = [
            {key: value for key, value in item._asdict().items() if value is not None} for item in answer
        ]
        return {
            "fetcher_id": "fetcher",
            "sequence": number,
            "attempted_at": NOON + timedelta(minutes=number),
            "call_id": f"call-{number:04}",
            "agent_id": self.agent_id,
            "outcome": "answered",
            "body": json.dumps({"items": items}).encode(),
        }


def _rows_in(plan: object) -> int:
    """Return the rows that all operators of a plan gave, as DuckDB 1 and 2 report them."""
    if isinstance(plan, list):
        return sum(map(_rows_in, plan))
    if not isinstance(plan, dict):
        return 0
    own = plan.get("intermediate_rows") or plan.get("operator_cardinality") or 0
    return int(own) + sum(map(_rows_in, plan.values()))


# Names that are similar to each other, to the view's own columns, or to the numbers that make names unique.
_HARD = [
    "Note",
    "note",
    "NOTE",
    "Note (2)",
    "note (3)",
    "Note ",
    " Note",
    "メモ",
    "メモ\u3000",
    "",
    " ",
    "item",
]
_HARD += [
    "call_id",
    "Call_ID",
    "Note (number)",
    'say "x"',
    "it's",
    "\x00b",
    "a\nb",
    "か\u3099",
    "が",
    "é",
    "É",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.one_of(st.sampled_from(_HARD), texts, st.none())
items = st.builds(
    Item, names, st.sampled_from(["string", "enum", "number", "boolean", "new", None]), st.just("1")
)
answers = st.lists(items, max_size=16)


@settings(max_examples=12)
@given(early=st.lists(answers, max_size=3), late=st.lists(answers, min_size=1, max_size=3))
@example(early=[[Item("Note", "string")] * 3], late=[[Item("Note (2)", "string"), Item("note", "number")]])
def test_any_names_give_unique_columns_that_later_answers_never_change(
    early: list[Answer], late: list[Answer]
) -> None:
    """Names differ in more than case and can be selected, and more answers only add columns at the end.

    Loading step by step gives the same as loading at once, and every result is in a column.
    """
    growing, at_once = Tables(), Tables()
    growing.land(early)
    before = growing.columns()
    growing.land(late)
    after = growing.columns()
    at_once.land([*early, *late])
    assert at_once.columns() == after
    assert after[: len(before)] == before
    taken = [name.lower() for name in [*FIXED, *(column.column_name for column in after)]]
    assert len(set(taken)) == len(taken)
    if not after:
        return
    rows = growing.view()
    assert list(rows[0]) == [*FIXED, *(column.column_name for column in after)]
    assert_every_result_shows(growing, rows)


@settings(max_examples=25)
@given(answer=st.lists(items, max_size=24))
@example(answer=[Item(name, "string") for name in ["Note (2)", "Note (3)", *["note"] * 3, "Note", "Note"]])
@example(
    answer=[Item(name, "string") for name in ["Note", " Note", "Note (2)", "Note (2)", "\tNote (2) (2)"]]
)
def test_names_are_those_that_taking_them_one_after_the_other_gives(answer: Answer) -> None:
    """Keys and columns take the next free number, as if each item looked at all those before it."""
    tables = Tables()
    tables.land([answer])
    keys = tables.sql.execute("select key from pca_items order by position").fetchall()
    names = [item.name or "" for item in answer]
    assert [key for (key,) in keys] == unique_keys(names)
    wishes = tables.sql.execute(
        "select key, type, row_number() over (partition by key order by position)"
        " from pca_columns order by position"
    ).fetchall()
    assert [column.column_name for column in tables.columns()] == unique_columns(wishes)


def unique_keys(names: Sequence[str]) -> list[str]:
    """Return the keys of items of these names."""
    keys: list[str] = []
    for place, name in enumerate(names):
        free = (f"{name} ({number})" for number in count(2) if f"{name} ({number})" not in names)
        earlier = names[:place].count(name)
        keys.append(next(islice(free, earlier - 1, None)) if earlier else name)
    return keys


def unique_columns(wishes: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return the column names for keys, their types, and how many types of the key there are so far."""
    taken = list(FIXED)
    for key, kind, type_number in wishes:
        named = f"item{key}" if re.fullmatch(rf"{BLANK}*( \(\d+\))?", key) else key
        # composed in parts, as DuckDB composes up to a NUL; spaces stand for every NUL then
        wish = normalize("NFC", re.sub(f"{BLANK}+", " ", named).strip(" "))
        wish += f" ({kind})" if type_number > 1 else ""
        names = chain([wish], (f"{wish} ({number})" for number in count(2)))
        taken.append(next(name for name in names if name.lower() not in {other.lower() for other in taken}))
    return taken[len(FIXED) :]


@pytest.mark.parametrize("name", ["item {}", "Note", "Note{:_>1000}", "note ({})"])
def test_twice_as_many_items_are_about_twice_the_work(name: str) -> None:
    """The rows that DuckDB handles on the way from an answer to its columns grow as the items do.

    Nothing loops over a list inside a row, which these counts would not show.
    """
    work = {}
    for item_count in (200, 400):
        tables = Tables(is_counting=True)
        tables.land([[Item(name.format(number), "string") for number in range(item_count)]])
        work[item_count] = tables.rows_handled
    assert work[200] > 200
    assert work[400] < 2.3 * work[200]
    on_the_way = [*sql_folder().rglob("*item*.sql"), sql_folder() / "core" / "pca_columns.sql"]
    texts = [path.read_text() for path in on_the_way]
    assert not [text for text in texts if "lambda" in text]


def test_a_view_has_a_thousand_columns_and_the_rest_is_only_in_the_long_table() -> None:
    """A check shows the agent. Columns that are there stay as they are."""
    tables = Tables()
    tables.land([[Item(f"item {number}", "string") for number in range(999)]])
    before = tables.columns()
    (check,) = (each for each in load_sql(sql_folder()).checks if each.name == "items_beyond_wide_view")
    assert tables.sql.execute(check.sql).fetchall() == []
    tables.land([[Item(f"more {number}", "string") for number in range(999)]])
    assert tables.columns()[:999] == before
    assert len(tables.columns()) == 1000
    assert tables.sql.execute("select count(*) from pca_items").fetchall() == [(1998,)]
    assert tables.sql.execute(check.sql).fetchall() == [("agent", 1998)]


def assert_every_result_shows(tables: Tables, rows: list[dict[str, object]]) -> None:
    """Check that a row has every item's result, always "1", in the columns of its key, and nothing else."""
    keys: dict[object, set[str]] = {}
    for call_id, key in tables.sql.execute("select call_id, key from pca_items").fetchall():
        keys.setdefault(call_id, set()).add(key)
    shown = {"text": "1", "number": 1.0, "boolean": None}
    for row in rows:
        for column in tables.columns():
            expected = shown[column.type] if column.key in keys[row["call_id"]] else None
            assert row[column.column_name] == expected


def test_a_name_is_kept_without_what_can_not_be_seen() -> None:
    """Outer and repeated spaces and line breaks are removed. Japanese, quotes and inner spaces stay."""
    tables = Tables()
    written = [" お客様の 感情\u3000", 'Said "yes"; or\nnot', "it's  so", "", "", " ", "(2)"]
    tables.land([[Item(name, "string") for name in written]])
    shown = ["お客様の 感情", 'Said "yes"; or not', "it's so"]
    shown += ["item", "item (2)", "item (3)", "(2)"]
    assert [column.column_name for column in tables.columns()] == shown


def test_the_views_own_columns_keep_their_names() -> None:
    """An item with the same name gets a number."""
    tables = Tables()
    tables.land([[Item("Call_ID", "string"), Item("pca_status", "string")]])
    assert [column.column_name for column in tables.columns()] == ["Call_ID (2)", "pca_status (2)"]


def test_an_item_that_changes_its_type_gets_a_second_column() -> None:
    """The first column keeps its name and type and still reads what it can. The new one has everything."""
    tables = Tables()
    tables.land([[Item("Size", "number", "4")]])
    tables.land([[Item("Size", "string", "5")], [Item("Size", "enum", "large")]])
    assert [column[:2] for column in tables.columns()] == [("Size", "number"), ("Size (text)", "text")]
    assert [(row["Size"], row["Size (text)"]) for row in tables.view()] == [
        (4.0, "4"),
        (5.0, "5"),
        (None, "large"),
    ]


def test_booleans_and_numbers_are_read_as_such() -> None:
    """A text that is neither reads as null."""
    tables = Tables()
    texts = ["TRUE", " false ", "unclear", "3.5", "not stated"]
    tables.land([[Item("Is it", "boolean", text), Item("How much", "number", text)] for text in texts])
    rows = [(row["Is it"], row["How much"]) for row in tables.view()]
    assert rows == [(True, None), (False, None), (None, None), (None, 3.5), (None, None)]


@pytest.mark.parametrize("text", ["NaN", "-inf", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_null(text: str) -> None:
    """Otherwise the sums and averages of a dashboard would not be finite either."""
    tables = Tables()
    tables.land([[Item("How much", "number", text)], [Item("How much", "number", "2")]])
    assert {row["How much"] for row in tables.view()} == {None, 2.0}
    numbers = tables.sql.execute("select result, result_number from pca_items").fetchall()
    assert dict(numbers) == {text: None, "2": 2.0}


def test_a_view_is_named_and_filtered_by_any_agent_id() -> None:
    """A simple id is the view's name. Any other is made safe, and no id can end the statement."""
    for agent_id in ("c1b1-04", "Agent 'x'\";\x00--", "エージェント"):
        tables = Tables(agent_id=agent_id)
        tables.land([[Item("Note", "string", "yes")]])
        assert [row["Note"] for row in tables.view()] == ["yes"]
        ((name,),) = tables.sql.execute("select view_name from pca_views").fetchall()
        assert (name == agent_id) == (agent_id == "c1b1-04")


def test_views_are_made_again_only_when_their_columns_change() -> None:
    """A publish without a new column does not touch any view."""
    tables = Tables()
    which = "select view_oid from duckdb_views() where schema_name = 'pca_wide'"
    tables.land([[Item("Note", "string")]])
    made = tables.sql.execute(which).fetchall()
    tables.land([[Item("Note", "string", "other")]])
    assert tables.sql.execute(which).fetchall() == made
    tables.land([[Item("Mood", "string")]])
    assert tables.sql.execute(which).fetchall() != made
