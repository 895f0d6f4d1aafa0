"""Exports to Excel: another reader finds the tables in the workbook, and what had to be cut."""

import random
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from support import export_process
from support.data_folder import DataFolder, bodies_of
from support.deadline import HANG_S
from support.disk import mounted
from support.exported import land_call, written
from support.oracle import ENDED, STARTED

from connector.errors import EXIT_USAGE
from connector.simulator.world import World
from connector.system.lock import hold_lock
from pipelines.exports import xlsx_cells
from pipelines.exports.export import export, find_standing, verify
from pipelines.exports.target import TargetError

EXPORTER = Path(export_process.__file__)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder with one call, published, and a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    folder = DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")
    land_call(folder, 1, STARTED)
    return folder


def write_mart(folder: DataFolder, name: str, text: str) -> None:
    assert folder.own_sql_dir is not None
    (folder.own_sql_dir / "marts" / f"{name}.sql").write_text(text)


def read(path: Path) -> dict[str, list[list[Any]]]:
    """Read every sheet as calamine does."""
    book = CalamineWorkbook.from_path(str(path))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


def records(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def near(moment: datetime) -> datetime:
    """Return a time to the second, because Excel's days are numbers with 15 digits."""
    return (moment + timedelta(microseconds=500_000)).replace(microsecond=0, tzinfo=None)


def test_the_workbook_follows_what_is_published(folder: DataFolder, tmp_path: Path) -> None:
    """Simulated calls over two publishes: times are Excel's own, and the first sheet explains the others."""
    path, url = tmp_path / "out" / "verbex.xlsx", f"xlsx:{tmp_path}/out/verbex.xlsx"
    folder.land(bodies_of(World.build(calls=6)))
    folder.sync()
    export(folder, url)
    assert [each for each in verify(folder, url) if not each.is_equal] == []
    land_call(folder, 1, STARTED, ENDED)
    folder.sync()
    assert written(export(folder, url))["calls"] == (1, 0)
    assert find_standing(folder, url).publishes_behind == 0
    assert [each for each in verify(folder, url) if not each.is_equal] == []
    sheets = read(path)
    assert next(iter(sheets)) == "about"
    ours = folder.records("select call_id, day, started_at, duration_s, status from calls order by 1")
    theirs = sorted(records(sheets["calls"]), key=lambda row: str(row["call_id"]))
    assert [near(row["started_at"].replace(tzinfo=UTC)) for row in theirs] == [
        near(row["started_at"]) for row in ours
    ]
    assert [row["day"] for row in theirs] == [row["day"] for row in ours]
    assert [row["status"] for row in theirs] == [row["status"] for row in ours]
    said = {row[0]: row for row in sheets["about"] if row[2] == "nothing"}
    assert said["calls"][1] == 7
    assert said["calls"][3].startswith("One row per call")
    assert ["calls", "call_id", "varchar", "Verbex's identity of the call"] in sheets["about"]
    stamp = path.stat().st_mtime_ns
    assert written(export(folder, url)) == {}
    assert path.stat().st_mtime_ns == stamp


def test_every_value_arrives_as_excel_can_hold_it(folder: DataFolder, tmp_path: Path) -> None:
    """Text stays text, whatever it looks like; what Excel has no number or day for becomes text."""
    write_mart(
        folder,
        "odd",
        r"""
        select '=1+1' as formula, '-5' as minus, -5 as number, '' as empty, null::varchar as nothing,
            '<r>a</r>' as markup, '_x0041_' as escaped, 'a' || chr(10) || 'b <&>' as lines, true as yes,
            'x' || chr(1) || chr(0) || chr(13) || chr(65535) || 'y' as control, ' é ' as spaces,
            1234567890123456 as long, 1e300::double as large, 'nan'::double as nan,
            0.1::decimal(9, 3) as exact,
            170141183460469231731687303715884105727::hugeint as huge, 7::hugeint as small,
            1.5::float as single,
            timestamptz '1850-01-01 00:00:00+00' as old,
            timestamptz '2025-01-02 03:04:05.678901+00' as moment,
            timestamptz 'infinity' as endless, date '1899-01-01' as old_day, date '2025-01-02' as day,
            ['x', null] as listed, map {'k': 1} as mapped, '{"a": 1}'::json as json, '\xff'::blob as bytes
        """,
    )
    folder.sync()
    url = f"xlsx:{tmp_path}/odd.xlsx"
    export(folder, url)
    (row,) = records(read(tmp_path / "odd.xlsx")["odd"])
    moment = row.pop("moment")
    assert near(moment) == datetime(2025, 1, 2, 3, 4, 6)  # noqa: DTZ001 - Excel's times have no zone
    assert row == {
        "formula": "=1+1",
        "minus": "-5",
        "number": -5,
        "empty": "",
        "nothing": "",
        "markup": "<r>a</r>",
        "escaped": "_x0041_",
        "lines": "a\nb <&>",
        "yes": True,
        "control": "x\x01\0\r\ufffdy",
        "spaces": " é ",
        "long": "1234567890123456",
        "large": 1e300,
        "nan": "nan",
        "exact": 0.1,
        "huge": "170141183460469231731687303715884105727",
        "small": 7,
        "single": 1.5,
        "old": "1850-01-01 00:00:00+00:00",
        "endless": "infinity",
        "old_day": "1899-01-01",
        "day": date(2025, 1, 2),
        "listed": '["x",null]',
        "mapped": '{"k":1}',
        "json": '{"a": 1}',
        "bytes": "\\xFF",
    }
    assert all(each.is_equal for each in verify(folder, url, tables=["odd"]))


def test_what_excel_has_no_room_for_is_cut_and_said(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old rows, long texts and long names; the newest rows stay."""
    monkeypatch.setattr(xlsx_cells, "MOST_ROWS", 3)
    name = "a_name_of_more_than_thirty_one_characters"
    write_mart(folder, name, f"select repeat('\U0001f600', 20000) as long, '{'x' * 32_767}' as whole")
    write_mart(folder, "about", "select 1 as one")
    for number in (5, 3, 4, 2):
        land_call(folder, number, f"{STARTED}", note=str(number))
    folder.sync()
    url = f"xlsx:{tmp_path}/cut.xlsx"
    export(folder, url)
    sheets = read(tmp_path / "cut.xlsx")
    kept = folder.rows(
        "select call_id from stored.calls order by started_at desc nulls last, rowid desc limit 3"
    )
    assert {row["call_id"] for row in records(sheets["calls"])} == {call_id for (call_id,) in kept}
    (cut_name,) = (each for each in sheets if each.startswith("a_name"))
    assert len(cut_name) <= 31
    ((long, whole),) = sheets[cut_name][1:]
    assert (long, len(whole)) == ("\U0001f600" * 16_383 + "\u2026", 32_767)
    said = {row[0]: row[2] for row in sheets["about"] if len(row) > 2}
    assert any(each[:2] == ["calls", 3] for each in sheets["about"])
    cut = {row[0]: row[2] for row in sheets["about"] if isinstance(row[1], float)}
    assert cut["calls"] == "2 of 5 rows; the newest were kept, by started_at"
    assert cut[cut_name] == "1 cells of over 32,767 characters"
    assert any(each.startswith("about~") for each in said)
    assert all(each.is_equal for each in verify(folder, url))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("xlsx:", "Write xlsx:/folder/file.xlsx"),
        ("xlsx:/srv/file.xls", "Write xlsx:/folder/file.xlsx"),
        ("xlsx:/srv/file.xlsx?gzip=true", "There are: none"),
    ],
)
def test_a_url_that_names_no_workbook_is_refused(tmp_path: Path, url: str, reason: str) -> None:
    """So is any option."""
    with pytest.raises(TargetError, match=reason) as caught:
        export(DataFolder(tmp_path / "data"), url)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_workbook_that_is_not_ours_is_refused_and_untouched(folder: DataFolder, tmp_path: Path) -> None:
    """Also one that another process writes now; and one that was edited is compared."""
    from xlsxwriter import Workbook

    theirs = tmp_path / "theirs.xlsx"
    with Workbook(str(theirs)) as book:
        book.add_worksheet("calls")
    for content in (theirs.read_bytes(), b"", b"no workbook"):
        theirs.write_bytes(content)
        with pytest.raises(TargetError, match="is not ours"):
            export(folder, f"xlsx:{theirs}")
        assert theirs.read_bytes() == content
    with (
        hold_lock(tmp_path / ".ours.xlsx.lock"),
        pytest.raises(TargetError, match=r"Another process .* exports to xlsx:"),
    ):
        export(folder, f"xlsx:{tmp_path}/ours.xlsx")


def test_an_export_that_is_killed_leaves_the_old_workbook(folder: DataFolder, tmp_path: Path) -> None:
    """By SIGKILL at a line of ours; the next export removes what it left."""
    folder.sync()
    path, url = tmp_path / "out" / "verbex.xlsx", f"xlsx:{tmp_path}/out/verbex.xlsx"
    export(folder, url)
    before = path.read_bytes()
    rng = random.Random(1)
    for number in (2, 3):
        land_call(folder, number, STARTED)
        folder.sync()
        command = [sys.executable, str(EXPORTER), str(folder.path), str(rng.randint(500, 4_000)), "0"]
        done = subprocess.run(command, input=url, text=True, timeout=HANG_S, check=False)
        assert done.returncode == -signal.SIGKILL
        assert path.read_bytes() == before
    export(folder, url)
    assert len(records(read(path)["calls"])) == 3
    assert sorted(each.name for each in path.parent.iterdir()) == [".verbex.xlsx.lock", "verbex.xlsx"]


def test_a_full_disk_is_named_and_leaves_the_old_workbook(folder: DataFolder, tmp_path: Path) -> None:
    """And nothing that takes room."""
    folder.sync()
    with mounted(tmp_path / "disk", "size=1m") as disk:
        url = f"xlsx:{disk}/verbex.xlsx"
        export(folder, url)
        before = (disk / "verbex.xlsx").read_bytes()
        for number in range(2, 90):
            land_call(
                folder, number, STARTED, note="".join(random.Random(number).choices("abcdef", k=30_000))
            )
        folder.sync()
        with pytest.raises(TargetError, match="No space left on device"):
            export(folder, url)
        assert (disk / "verbex.xlsx").read_bytes() == before
        assert sorted(each.name for each in disk.iterdir()) == [".verbex.xlsx.lock", "verbex.xlsx"]
