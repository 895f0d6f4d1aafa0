"""The log of changes: who follows it has the published tables, whichever files take turns."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from support.data_folder import DataFolder, body, spoil
from support.oracle import ENDED, STARTED
from test_one_truth import Folder

from pipelines.warehouse import change_log
from pipelines.warehouse.changes import changed_keys, identity_of, is_public, newest_publish
from pipelines.warehouse.files import WarehouseFile

WAITING = """
    select agent_id, count(*) filter (status = 'in_progress') as calls
    from calls semi join changed using (agent_id) group by agent_id
"""
BUSY = "select agent_id from waiting semi join changed using (agent_id) where calls >= 2"


class Mirror:
    """A copy of the published tables that is kept by the log alone, as an export's is."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._id: UUID | None = None
        self.tables: dict[str, list[tuple[Any, ...]]] = {}
        self.compared_whole: set[str] = set()
        self.needless: dict[str, set[tuple[Any, ...]]] = {}

    def follow(self) -> None:
        """Replace the rows of changed keys; where the log does not know them, the whole table."""
        self.compared_whole.clear()
        self.needless.clear()
        with self._data.read() as connection:
            for model in filter(is_public, self._data.models):
                rows = connection.execute(f"from {model.stored} order by all").fetchall()
                names = [name for name, *_ in connection.execute(f"describe {model.stored}").fetchall()]
                keys = changed_keys(connection, model, self._id)
                before = self.tables.get(model.table, [])
                self.tables[model.table] = rows
                if keys is None:
                    self.compared_whole.add(model.table)
                    continue
                changed = set(connection.execute(keys).fetchall())
                places = [names.index(key) for key in identity_of(model)]
                kept = [row for row in before if key_of(row, places) not in changed]
                found = [row for row in rows if key_of(row, places) in changed]
                assert sorted(map(repr, kept + found)) == sorted(map(repr, rows)), model.table
                unlike = {key_of(row, places) for row in unlike_rows(before, rows)}
                self.needless[model.table] = changed - unlike
            self._id = id_of_newest(connection)


def id_of_newest(connection: duckdb.DuckDBPyConnection) -> UUID:
    newest = newest_publish(connection)
    assert newest
    return newest.id


def key_of(row: tuple[Any, ...], places: list[int]) -> tuple[Any, ...]:
    return tuple(row[place] for place in places)


def unlike_rows(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    by_text = ({repr(row): row for row in rows} for rows in (one, other))
    first, second = by_text
    yield from (row for text, row in (first | second).items() if (text in first) != (text in second))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch, random.Random(1))


def publish_fails(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync, and die when all is ready for the rename."""

    def die(_: WarehouseFile) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WarehouseFile, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            folder.data.sync()


def test_the_log_names_the_keys_that_changed_and_no_others(folder: Folder) -> None:
    """In a log of one key too few a reader stays wrong; one too many costs each reader."""
    mirror, late = Mirror(folder.data), Mirror(folder.data)
    for turn in range(7):
        folder.land()
        folder.data.sync()
        mirror.follow()
        assert turn == 0 or not mirror.compared_whole - {"pca_views"}
        assert not any(mirror.needless.values())
        if turn in (0, 4):
            late.follow()
    late.follow()
    assert not late.compared_whole


def test_a_row_that_comes_and_goes_while_a_file_rests_is_named(folder: Folder) -> None:
    """The file that publishes last has seen neither: it knows of it only from the log of the one between."""
    marts = folder.data.sql_dir / "marts"
    header = "-- x\n--\n-- grain: agent_id\n"
    (marts / "waiting.sql").write_text(header + WAITING)
    (marts / "busy.sql").write_text(header + BUSY)
    mirror = Mirror(folder.data)
    landed = [
        [body("t1", STARTED, "c1", 0), body("t2", STARTED, "d1", 0, agent_id="other")],
        [body("t3", STARTED, "e1", 0, agent_id="other")],
        [body("t4", STARTED, "c2", 1)],
        [body("t5", ENDED, "c2", 2)],
        [body("t6", STARTED, "c3", 3)],
    ]
    seen = []
    for bodies in landed:
        folder.data.land(bodies)
        folder.data.sync()
        mirror.follow()
        assert not mirror.needless.get("busy")
        seen.append(folder.data.rows("from busy order by all"))
    assert seen == [[], [("other",)], [("agent",), ("other",)], [("other",)], [("agent",), ("other",)]]
    assert not mirror.compared_whole


def test_tables_may_have_any_name_and_keys_that_are_null(folder: Folder) -> None:
    """Names that the log has used itself, in tables of one kind and the other; null is a key like others."""
    select = "select agent_id, nullif(status, 'in_progress') as status, count(*) as calls from calls"
    for name in ("ours", "theirs", "left_behind", "differing", "entries"):
        (folder.data.sql_dir / "marts" / f"{name}.sql").write_text(f"-- grain: status\n{select} group by all")
        text = f"-- grain: agent_id, status\n-- keys: agent_id\n{select} semi join changed using (agent_id)"
        (folder.data.sql_dir / "marts" / f"{name}_too.sql").write_text(f"{text} group by all")
    mirror = Mirror(folder.data)
    for number, name in enumerate([STARTED, STARTED, ENDED, STARTED]):
        folder.data.land([body(f"t{number}", name, f"c{number % 2}", number)])
        folder.data.sync()
        mirror.follow()
        assert not mirror.needless.get("ours_too")
    assert not mirror.compared_whole - {"pca_views"}
    assert len(mirror.tables["ours"]) == 2


def test_a_full_refresh_changes_what_differs_and_begins_no_new_log(folder: Folder) -> None:
    """As one does after wrong rows: only these cost a reader something."""
    mirror = Mirror(folder.data)
    for _ in range(3):
        folder.land()
        folder.data.sync()
    published = folder.data.warehouse.published.resolve()
    spoil(published, "update stored.calls set agent_id = 'spoiled' where call_id = 'c1'")
    mirror.follow()
    folder.refresh()
    mirror.follow()
    assert not mirror.compared_whole
    assert not any(mirror.needless.values())
    assert all(row[2] != "spoiled" for row in mirror.tables["calls"])
    with folder.data.read() as connection:
        newest = newest_publish(connection)
        assert newest
        changed = "select model, key[1] from ops.changes where number = ? order by all"
        assert connection.execute(changed, [newest.number]).fetchall() == [("calls", "c1")]


def test_a_log_that_grew_too_long_says_so(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes from before its beginning compares whole tables. Whoever is near reads on."""
    monkeypatch.setattr(change_log, "_MOST_CHANGES", 60)
    far, near = Mirror(folder.data), Mirror(folder.data)
    for turn in range(8):
        folder.land()
        folder.data.sync()
        near.follow()
        assert turn == 0 or not near.compared_whole - {"pca_views"}
        if turn == 0:
            far.follow()
    far.follow()
    assert "calls" in far.compared_whole
    assert folder.data.rows("select count(*) < 100 from ops.changes") == [(True,)]


def wander(folder: Folder, monkeypatch: pytest.MonkeyPatch, rng: random.Random, steps: int) -> None:
    """Do anything to the files in any order; mirrors have the tables, whether they look often or seldom."""
    mirrors = [Mirror(folder.data) for _ in range(2)]
    choices = (
        *(folder.land, folder.land, folder.land, folder.refresh, folder.change_sql, folder.change_own_model),
        *(folder.upgrade_reader, folder.downgrade_reader, folder.spoil_every_file, folder.delete_a_file),
        *(folder.delete_the_link, folder.save, folder.restore, folder.interrupt_a_refresh),
        lambda: publish_fails(folder, monkeypatch),
    )
    folder.land()
    for step in range(steps):
        folder.data.sync()
        for mirror in mirrors[: 1 + (step % 3 == 0)]:
            mirror.follow()
        rng.choice(choices)()


def test_whatever_is_done_to_the_files_the_log_leads_to_the_published_tables(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random way; the slow tests go further."""
    wander(folder, monkeypatch, random.Random(5), 12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_on_many_more_ways_the_log_leads_to_the_published_tables(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same for longer."""
    wander(folder, monkeypatch, random.Random(seed), 30)


def test_a_publish_that_did_not_happen_is_taken_back(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the log's end and the rename: the number is given again, to other tables."""
    mirror = Mirror(folder.data)
    for _ in range(3):
        folder.land()
        folder.data.sync()
        mirror.follow()
        folder.land()
        publish_fails(folder, monkeypatch)
        mirror.follow()
        assert not mirror.compared_whole
        assert not any(mirror.needless.values())
