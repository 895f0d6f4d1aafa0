"""Exports to CSV: what stands in a file is the table, for any text, and nothing else is touched."""

import csv
import gzip
import re
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.data_folder import DataFolder, bodies_of
from support.death import ended_at
from support.disk import mounted
from support.exported import land_call, written
from support.oracle import ENDED, STARTED

from connector.errors import EXIT_USAGE
from connector.simulator.world import World
from connector.system.lock import hold_lock
from pipelines.exports import csv_files, csv_state, local_files
from pipelines.exports.address import Address
from pipelines.exports.change import Change, Table
from pipelines.exports.csv_files import open_csv
from pipelines.exports.csv_state import LOCK, STATE
from pipelines.exports.export import export, find_standing, verify
from pipelines.exports.target import TargetError
from pipelines.models.sql_file import Column

WRITERS = frozenset(module.__file__ for module in (csv_files, csv_state, local_files))
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

HOSTILE = [
    "=1+1",
    "'=1",
    "''-1",
    "'a",
    "\t=1",
    "\r",
    "a\rb",
    "a\nb",
    "a\r\nb",
    '"',
    "a,b",
    "",
    "\0",
    "\ufeff",
]

texts = st.text(st.sampled_from("'=+-@,\"\t\r\n\uff1d\0 a\u58f2\ufeff")) | st.text()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder with one call, published."""
    folder = DataFolder(tmp_path / "data")
    land_call(folder, 1, STARTED)
    folder.sync()
    return folder


def read(path: Path) -> list[list[str]]:
    """Read a file as Python does."""
    packed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    return list(csv.reader(text.decode("utf-8-sig").splitlines(keepends=True)))


def read_as_duckdb(path: Path) -> list[tuple[str | None, ...]]:
    """Read a file as DuckDB does."""
    options = "header = true, all_varchar = true, allow_quoted_nulls = false, quote = '\"', escape = '\"'"
    with duckdb.connect() as connection:
        return connection.execute(f"from read_csv('{path}', {options}, delim = ',')").fetchall()


def undone(text: str | None) -> str | None:
    """Take the apostrophe away that defuses a formula, as the guide says."""
    is_defused = text is not None and re.match("'+[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]", text)
    return text[1:] if text is not None and is_defused else text


@settings(max_examples=25, deadline=None)
@example([("", text, -5) for text in [*HOSTILE, None]], False, True, False)
@given(
    st.lists(st.tuples(texts, st.none() | texts, st.none() | st.integers(-9, 9)), max_size=4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_any_text_is_read_back(
    rows: list[tuple[str, str | None, int | None]], is_packed: bool, has_bom: bool, is_kept: bool
) -> None:
    """By Python and by DuckDB, null and empty text apart; and no text begins as a formula does."""
    options = f"gzip={str(is_packed).lower()}&bom={str(has_bom).lower()}&formulas="
    columns = (Column("=key", "VARCHAR", ""), Column("text", "VARCHAR", ""), Column("n", "BIGINT", ""))
    numbered = [(f"{place}{key}", text, number) for place, (key, text, number) in enumerate(rows)]
    with TemporaryDirectory() as name, duckdb.connect() as connection:
        connection.execute('create table odd ("=key" varchar, "text" varchar, n bigint)')
        if numbered:
            connection.executemany("insert into odd values (?, ?, ?)", numbered)
        change = Change(Table("odd", "", columns, ("=key",)), True, connection, "odd", "true")
        url = f"csv:{name}?{options}{'kept' if is_kept else 'defused'}"
        with open_csv(Address(url), wait_s=0) as target:
            assert target.write(change, uuid4()).rows_written == len(rows)
            target.finish(None)  # type: ignore[arg-type]  # it makes nothing of several tables
            assert target.compare(change, 5).is_equal
        (path,) = Path(name).glob("odd*")
        expected = [(key, text, None if number is None else str(number)) for key, text, number in numbered]
        found = read_as_duckdb(path)
        seen = [tuple(map(undone, row)) for row in found]
        assert (found if is_kept else seen) == expected
        with_python = [tuple(text or "" for text in row) for row in found]
        text = gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes()
        assert text.startswith(b"\xef\xbb\xbf") == has_bom
        file = Path(name) / "unpacked"
        file.write_bytes(text)
        with file.open(newline="", encoding="utf-8-sig") as lines:
            header, *by_python = map(tuple, csv.reader(lines))
        assert by_python == with_python
        if not is_kept:
            assert header[0] == "'=key"
            assert not any((row[1] or "").startswith(DANGEROUS) for row in found)


def test_the_files_follow_what_is_published_and_only_changed_ones_are_written(
    folder: DataFolder, tmp_path: Path
) -> None:
    """Simulated calls over two publishes; a file whose table did not change keeps its time."""
    url = f"csv:{tmp_path}/out?bom=true"
    bodies = bodies_of(World.build(calls=6))
    folder.land(bodies)
    folder.sync()
    first = export(folder, url)
    assert written(first)["calls"] == (7, 0)
    assert [each for each in verify(folder, url) if not each.is_equal] == []
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.csv")}
    land_call(folder, 1, STARTED, ENDED)
    folder.sync()
    second = export(folder, url)
    assert written(second)["calls"] == (1, 0)
    assert find_standing(folder, url).publishes_behind == 0
    assert [each for each in verify(folder, url) if not each.is_equal] == []
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.csv")}
    changed = {name for name, time in again.items() if files[name] != time}
    assert {"calls.csv", "events.csv", "pipeline_status.csv"} <= changed
    assert not {"quarantine.csv", "pca.csv", "pca_views.csv"} & changed
    assert written(export(folder, url)) == {}
    assert [call_id for call_id, *_ in read(tmp_path / "out" / "calls.csv")[1:]].count("c1") == 1


def test_a_file_that_was_edited_removed_or_is_to_be_compressed_is_written_again(
    folder: DataFolder, tmp_path: Path
) -> None:
    """Comparing names the rows that differ. Files of ours that were compressed otherwise go."""
    url, out = f"csv:{tmp_path}/out", tmp_path / "out"
    export(folder, url)
    calls, right = out / "calls.csv", (out / "calls.csv").read_bytes()
    calls.write_bytes(right.replace(b"in_progress", b"edited", 1))
    (found,) = verify(folder, url, tables=["calls"])
    assert (found.differing, found.missing, found.surplus, found.keys) == (1, 0, 0, (("c1",),))
    (out / "events.csv").unlink()
    assert set(export(folder, url).tables) == {"calls", "events"}
    assert calls.read_bytes() == right
    (out / "notes.txt").write_text("mine")
    export(folder, f"{url}?gzip=true")
    assert gzip.decompress((out / "calls.csv.gz").read_bytes()) == right
    assert [path.name for path in out.glob("*") if path.suffix not in (".gz", ".json", ".lock")] == [
        "notes.txt"
    ]


@pytest.mark.parametrize("options", ["gzipp=true", "gzip=yes", "formulas=keep", "compression=gzip"])
def test_an_option_that_there_is_not_is_refused(tmp_path: Path, options: str) -> None:
    """The error names those that there are, and nothing is made."""
    with pytest.raises(TargetError, match=r"gzip=false\|true, bom=false\|true, formulas=defused") as caught:
        export(DataFolder(tmp_path / "data"), f"csv:{tmp_path}/out?{options}")
    assert caught.value.exit_code == EXIT_USAGE
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("url", ["csv:", "csv://srv/out", "csv:/srv/a#b"])
def test_a_url_that_names_no_folder_plainly_is_refused(tmp_path: Path, url: str) -> None:
    """Rather than written somewhere else."""
    with pytest.raises(TargetError, match="Write csv:/folder"):
        export(DataFolder(tmp_path / "data"), url)


def test_what_is_not_ours_is_refused_and_untouched(folder: DataFolder, tmp_path: Path) -> None:
    """A folder with other files; a file of ours's name; a state that can't be read; a file for a folder."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "calls.csv").write_text("mine")
    with pytest.raises(TargetError, match=r"calls\.csv.*Nothing was written"):
        export(folder, f"csv:{out}")
    assert [path.name for path in out.iterdir()] == ["calls.csv"]
    export(folder, f"csv:{tmp_path}/ours", tables=["agents"])
    ours = tmp_path / "ours"
    (ours / "calls.csv").write_text("mine")
    with pytest.raises(TargetError, match="is not ours"):
        export(folder, f"csv:{ours}")
    assert (ours / "calls.csv").read_text() == "mine"
    (ours / STATE).write_text("{}")
    with pytest.raises(TargetError, match="it is not known which files are ours"):
        export(folder, f"csv:{ours}")
    with pytest.raises(TargetError, match="Not a directory"):
        export(folder, f"csv:{ours}/calls.csv")


def test_two_exporters_never_write_at_once(folder: DataFolder, tmp_path: Path) -> None:
    """The second one says so."""
    export(folder, f"csv:{tmp_path}/out")
    with (
        hold_lock(tmp_path / "out" / LOCK),
        pytest.raises(TargetError, match=r"Another process .* exports to csv:"),
    ):
        export(folder, f"csv:{tmp_path}/out")


@pytest.mark.slow
def test_an_export_that_ends_anywhere_leaves_whole_files_and_the_next_goes_on(
    folder: DataFolder, tmp_path: Path
) -> None:
    """At every few lines of ours, in the first export and in one that writes every file again."""
    tables = ["calls"]
    export(folder, f"csv:{tmp_path}/plain", tables=tables)
    export(folder, f"csv:{tmp_path}/marked?bom=true", tables=tables)
    is_done = False
    for step in count(40, 8):
        out = tmp_path / f"out{step}"
        for options in ("", "?bom=true"):
            is_done = False
            with ended_at(step, WRITERS):
                export(folder, f"csv:{out}{options}", tables=tables)
                is_done = True
            for path in out.glob("*.csv"):
                whole = [(tmp_path / kind / path.name).read_bytes() for kind in ("plain", "marked")]
                assert path.read_bytes() in whole
            export(folder, f"csv:{out}{options}", tables=tables)
            for table in tables:
                kind = "marked" if options else "plain"
                found = (out / f"{table}.csv").read_bytes()
                assert found == (tmp_path / kind / f"{table}.csv").read_bytes()
            assert list(out.glob(".*.partial")) == []
        if is_done:
            break
    assert step > 50


def test_a_full_disk_is_named_and_leaves_the_old_files(folder: DataFolder, tmp_path: Path) -> None:
    """And nothing that takes room."""
    with mounted(tmp_path / "disk", "size=1m") as disk:
        url = f"csv:{disk}/out"
        export(folder, url)
        before = {path.name: path.read_bytes() for path in (disk / "out").iterdir()}
        land_call(folder, 2, STARTED, note="x" * 1_500_000)
        folder.sync()
        with pytest.raises(TargetError, match="No space left on device"):
            export(folder, url)
        assert {path.name: path.read_bytes() for path in (disk / "out").iterdir()} == before
