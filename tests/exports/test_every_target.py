"""What holds for every kind of target: the same tables, changed in the same ways, are equal afterwards."""

from datetime import timedelta
from pathlib import Path

import pytest
from support.data_folder import NOON, DataFolder, body
from support.lake import find_unequal, write_mart
from support.oracle import ENDED, STARTED
from support.postgresql import Database

from pipelines.exports.export import export, find_standing

pytestmark = pytest.mark.xdist_group("postgresql")

SAME = "-- grain: call_id\nselect call_id, day, status from calls"
COUNTED = "-- grain: k\nselect *, (select count(*) from calls) as calls from"
ODD = {
    # keys that are null, become alike, or are longer than an index takes
    "null_keys": "-- grain: status, n\nselect nullif(status, 'in_progress') as status, null::json as n,"
    " count(*) as calls from calls group by status",
    "nul_keys": "-- grain: k\nselect * from (values ('a' || chr(0)), ('a\ufffd'), (''), ('\u200b')) t(k)",
    "endless_keys": f"{COUNTED} (values ('infinity'::timestamptz), ('-infinity'::timestamptz), (null)) t(k)",
    "nested_keys": f"{COUNTED} (select range(1, 3000 * n)::varchar[] as k from range(2) t(n))",  # noqa: S608
    # days, times and numbers beyond those of readers
    "odd_days": f"{COUNTED} (values (1, date '290000-01-01'), (2, 'infinity'::date), (3, null),"
    " (4, date '0044-03-15 (BC)'), (5, date '2025-01-01')) t(k, day)",
    "odd_values": "select timestamptz 'infinity' as t, timestamp '-infinity' as u, 'infinity'::date as d,"
    " timestamptz '290000-01-01 00:00:00+00' as v, timestamp_ns '2025-01-01 00:00:00.123456789' as n,"
    " 170141183460469231731687303715884105727::hugeint as h, 'nan'::double as x, '-inf'::float as y, day"
    " from calls",
    "only_days": "-- grain: day\nselect distinct day from calls",
    # names that exports have used themselves, and names that become alike when cut
    **dict.fromkeys(("ours", "unlike", "batch", "staged", "changed_calls", "gone_ours"), SAME),
    **dict.fromkeys(("a" * 70, "a" * 69 + "b"), SAME),
}


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """An empty data folder, with a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")


@pytest.fixture
def urls(tmp_path: Path, database: Database) -> dict[str, str]:
    """The URL of an empty target of each kind."""
    folders = {kind: f"{kind}:{tmp_path}/{kind}" for kind in ("delta", "parquet", "csv")}
    return {"postgresql": database.url, "xlsx": f"xlsx:{tmp_path}/all.xlsx", **folders}


def test_no_name_key_or_value_stops_an_export_and_each_arrives(
    folder: DataFolder, urls: dict[str, str]
) -> None:
    """At first, and when rows change; one of them would stop all others."""
    for name, text in ODD.items():
        write_mart(folder, name, text)
    tables = [*ODD, "events", "calls"]
    folder.land([body("x\0y", STARTED, "c0", 1), body("x\ufffdy", STARTED, "c1", 2)])
    for turn in range(2):
        folder.land([body(f"t{turn}", ENDED, f"c{2 * turn}", 10 + turn)])
        folder.sync()
        for url in urls.values():
            export(folder, url, tables=tables)
    for url in urls.values():
        assert find_unequal(folder, url, tables) == [], url


def test_whatever_was_left_out_or_went_back_is_caught_up(
    folder: DataFolder, urls: dict[str, str], tmp_path: Path
) -> None:
    """Tables left out for a while, columns in another order, a clock that goes back, another warehouse."""
    every = ("mine", "calls", "agents")
    select = "-- grain: call_id\nselect {} from calls"
    write_mart(folder, "mine", select.format("call_id, day, 1 as one"))
    for turn, tables in enumerate([every, ("calls",), every]):
        folder.land([body(f"t{turn}", STARTED, f"c{turn}", 90_000 * turn)])
        folder.sync(published_at=NOON - timedelta(days=turn))
        write_mart(folder, "mine", select.format("1 as one, day, call_id"))
        for url in urls.values():
            export(folder, url, tables=tables)
    again = DataFolder(tmp_path / "again", landing_url=str(folder.path / "landing"))
    for url in urls.values():
        assert find_standing(folder, url).lag_s == 0, url
        assert find_unequal(folder, url, every) == [], url
    again.sync()
    for url in urls.values():
        assert find_standing(again, url).publish is None
        export(again, url, tables=every[1:])
        assert find_unequal(again, url, every[1:]) == [], url
