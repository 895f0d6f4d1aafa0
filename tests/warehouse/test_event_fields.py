"""The fields of webhooks: what is in them, how often, and what is new or gone."""

from pathlib import Path

import pytest
from support.data_folder import NOON_US, DataFolder, body
from support.oracle import STARTED

from pipelines.reconciliation.rebuild import compare_with_rebuild

DAY_US = 86_400_000_000


def changes(folder: DataFolder) -> list[tuple[object, ...]]:
    """Return what the check says: path, type, and new or gone."""
    found = folder.inspect("event_fields")["event_fields_change"]
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    return [(row["path"], row["type"], row["change"]) for row in rows]


def test_every_field_has_its_type_and_its_share(tmp_path: Path) -> None:
    """Lists and objects too, with whatever is in their names."""
    folder = DataFolder(tmp_path)
    odd = {"tags": ["a", {"b": True}], "": 1, "dot.ted": None, 'quo"te': 1.5}
    folder.land([body("a", STARTED, "call", 0, odd=odd), body("b", STARTED, "call", 0)])
    folder.sync()
    fields = folder.rows(
        "select path, type, deliveries, share from event_fields where path like '%odd%' order by path"
    )
    assert fields == [
        ("$.payload.odd", "object", 1, 0.5),
        ('$.payload.odd.""', "number", 1, 0.5),
        ('$.payload.odd."dot.ted"', "null", 1, 0.5),
        ('$.payload.odd."quo\\"te"', "number", 1, 0.5),
        ("$.payload.odd.tags", "list", 1, 0.5),
        ("$.payload.odd.tags[*]", "mixed", 1, 0.5),
    ]
    assert folder.rows("select type, deliveries, share from event_fields where path = '$'") == [
        ("object", 2, 1.0)
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_loads_in_any_order_give_what_a_rebuild_gives(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A late delivery moves the first sighting back."""
    folder = DataFolder(tmp_path)
    for day in order:
        folder.land(
            [body(f"t{day}", STARTED, "call", day, language="ja")], received_at_us=NOON_US + day * DAY_US
        )
        folder.sync()
    assert folder.rows(
        "select epoch_us(first_seen_at), epoch_us(last_seen_at), deliveries from event_fields"
        " where path = '$.payload.language'"
    ) == [(NOON_US, NOON_US + 2 * DAY_US, 3)]
    assert all(each.is_equal for each in compare_with_rebuild(folder))


def test_a_field_is_new_for_a_week(tmp_path: Path) -> None:
    """Unless its event type came with it."""
    folder = DataFolder(tmp_path)
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    assert changes(folder) == []
    folder.land([body("b", STARTED, "call", 0, language="ja")], received_at_us=NOON_US + 2 * DAY_US)
    folder.sync()
    assert changes(folder) == [("$.payload.language", "text", "new")]
    folder.land([body("c", STARTED, "call", 0, language="ja")], received_at_us=NOON_US + 10 * DAY_US)
    folder.sync()
    assert changes(folder) == []


def test_a_field_that_most_deliveries_had_is_gone_after_a_day_without_it(tmp_path: Path) -> None:
    """A field that changes its type is gone with the old one and new with the other."""
    folder = DataFolder(tmp_path)
    folder.land([body(f"t{number}", STARTED, "call", number, language="ja") for number in range(3)])
    folder.land([body("b", STARTED, "call", 0, language=7)], received_at_us=NOON_US + 2 * DAY_US)
    folder.sync()
    assert changes(folder) == [
        ("$.payload.language", "number", "new"),
        ("$.payload.language", "text", "gone"),
    ]
