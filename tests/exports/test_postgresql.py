"""Exports to a real PostgreSQL: its copy is the published tables, and nothing else is touched."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
import pytest
from support import export_process
from support.data_folder import NOON, NOON_US, DataFolder, bodies_of, body
from support.deadline import HANG_S
from support.death import ended_at
from support.disk import mounted
from support.export_process import EXPORTERS
from support.lake import find_unequal
from support.oracle import ENDED, STARTED
from support.postgresql import PASSWORD, Database, Server, serving_postgresql

from connector.landing.zones import CALLS, PCA
from connector.simulator.world import World
from pipelines.exports.export import Exported, export, find_standing, verify
from pipelines.exports.postgresql import PostgresqlTarget
from pipelines.exports.target import TargetError

pytestmark = pytest.mark.xdist_group("postgresql")

EXPORTER = Path(export_process.__file__)
Kill = Callable[[DataFolder, Database, int, random.Random], None]

# Tables and columns that DuckDB and the driver give as the same Python values.
COMPARED = {
    "events": "trace_id, event_name, occurred_at, received_at, deliveries, call_id",
    "calls": "call_id, status, pca_status, day, hour, started_at, ended_at, duration_s, updated_at",
    "agent_daily": "agent_id, agent_name, day, calls, completed, mean_duration_s",
    "agent_hourly": "agent_id, day, hour, calls",
    "pca_items": "call_id, position, name",
    "call_messages": "call_id, position, role, text",
    "pca_revisions": "call_id, revision",
    "quarantine": "receiver_id, sequence, problem, body",
    "pipeline_status": "published_at, events, calls",
}


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """An empty data folder, with a folder for marts of the customer's own."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")


def assert_copied(folder: DataFolder, database: Database, *, is_compared: bool = True) -> None:
    """Compare the copy with what is published: by our own comparison, and by the rows themselves."""
    if is_compared:
        assert [found for found in verify(folder, database.url) if not found.is_equal] == []
    for table, columns in COMPARED.items():
        ours = folder.rows(f"select {columns} from {table}")  # noqa: S608
        theirs = database.rows(f"select {columns} from verbex.{table}")  # noqa: S608
        assert sorted(map(repr, map(plain, ours))) == sorted(map(repr, map(plain, theirs))), table


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with its times as numbers, and with what stands for the NUL that PostgreSQL refuses."""
    values = (value.timestamp() if isinstance(value, datetime) else value for value in row)
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in values)


def written(exported: Exported) -> dict[str, tuple[int, int]]:
    return {table: (each.rows_written, each.rows_deleted) for table, each in exported.tables.items()}


def land_call(folder: DataFolder, number: int, *names: str, **payload: object) -> None:
    events = [
        body(f"{name}{number}", name, f"c{number}", 5 * place, **payload) for place, name in enumerate(names)
    ]
    folder.land(events, received_at_us=NOON_US + number * 1_000_000)


def land_answer(folder: DataFolder, call_id: str, *items: tuple[str, str, str], minute: int = 0) -> None:
    listed = [{"name": name, "type": kind, "result": result} for name, kind, result in items]
    content = json.dumps({"status": 200, "data": {"items": listed}}).encode()
    at = NOON + timedelta(minutes=minute)
    folder.land_answers(PCA, [{"call_id": call_id, "attempted_at": at, "body": content}])


def land_details(folder: DataFolder, call_id: str) -> None:
    said = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi \x00"}]
    content = json.dumps(
        {"status": 200, "data": {"id": call_id, "messages": said, "metadata": {"a": 1}}}
    ).encode()
    folder.land_answers(CALLS, [{"call_id": call_id, "body": content}])


def write_mart(folder: DataFolder, name: str, text: str) -> None:
    assert folder.own_sql_dir is not None
    (folder.own_sql_dir / "marts" / f"{name}.sql").write_text(text)


def test_the_copy_follows_what_is_published_at_the_cost_of_what_changed(
    folder: DataFolder, database: Database
) -> None:
    """Simulated calls with analyses and details, over several publishes: upserts and deletes."""
    write_mart(
        folder,
        "running",
        "-- grain: call_id\nselect call_id from calls semi join changed using (call_id)"
        " where status = 'in_progress'",
    )
    world = World.build(calls=12)
    bodies = bodies_of(world)
    exports, running = [], []
    for turn in range(3):
        folder.land([*bodies[turn::3], b"no event"], received_at_us=NOON_US + turn)
        call = world.calls[turn]
        folder.land_answers(
            PCA, [{"call_id": call.call_id, "body": json.dumps(world.pca_answer(call)).encode()}]
        )
        land_details(folder, call.call_id)
        land_call(folder, 1, (STARTED, "CallHandler.CallTransferred", ENDED)[turn])
        folder.sync()
        exports.append(export(folder, database.url))
        running.append({call_id for (call_id,) in database.rows("select call_id from verbex.running")})
    assert_copied(folder, database)
    first, *later = exports
    assert len(first.compared_whole) == len(first.tables) > 15
    assert all(set(each.compared_whole) <= {"pca_views", "pipeline_status"} for each in later)
    assert [("c1" in each) for each in running] == [True, True, False]
    assert written(later[-1])["running"][1] >= 1
    again = export(folder, database.url)
    assert (again.tables, find_standing(folder, database.url).publishes_behind) == ({}, 0)


def test_tables_have_keys_and_say_what_they_mean(folder: DataFolder, database: Database) -> None:
    """As the SQL files do. Hash columns, by which loads find rows, are left out. Tables can be named."""
    land_call(folder, 1, STARTED)
    folder.sync()
    assert set(export(folder, database.url, tables=["calls", "agents"]).tables) == {"calls", "agents"}
    rest = export(folder, database.url)
    assert "calls" not in rest.tables
    assert "events" in rest.compared_whole
    described = (
        "select obj_description('verbex.calls'::regclass), col_description('verbex.calls'::regclass, 1)"
    )
    ((table, column),) = database.rows(described)
    assert table.startswith("One row per call")
    assert column == "Verbex's identity of the call"
    keys = database.rows(
        "select relname, pg_get_constraintdef(c.oid)"
        " from pg_constraint c join pg_class on conrelid = pg_class.oid where contype = 'p'"
    )
    assert {("calls", "PRIMARY KEY (call_id)"), ("events", "PRIMARY KEY (trace_id)")} <= set(keys)
    assert database.rows("select 1 from information_schema.columns where column_name like '%\\_hash'") == []


def test_every_type_and_hostile_text_arrives(folder: DataFolder, database: Database) -> None:
    """PostgreSQL refuses NUL characters, and names of more than 63 bytes."""
    long_name = "売上" * 40
    write_mart(
        folder,
        "odd",
        f"""
        select 'a' || chr(0) || 'b' as nul, '{{"a\\u0000": "\\\\u0000 \\u0000\\u0000 \\\\\\u0000"}}'::json
                as json_nul,
            map {{'k' || chr(0): 1.5::double}} as mapped, ['x', null] as listed, {{'a': [1]}} as nested,
            'x'::blob as bytes, 170141183460469231731687303715884105727::hugeint as huge,
            1.25::decimal(9, 3) as exact,
            'cab5d4a1-0000-4000-8000-000000000001'::uuid as id,
            time '10:00:00' as clock, interval 1 day as span,
            timestamp '2025-01-02 03:04:05.678901' as naive, timestamptz '0099-01-01 00:00:00+00' as old,
            1::utinyint as tiny, 1.5::float as single, 'nan'::double as nan, 'infinity'::double as endless,
            'multi' || chr(10) || 'line\\' as lines,
            7 as "Ünï ""q""!", 8 as "{long_name}", null::json as nothing
        """,
    )
    land_call(folder, 1, STARTED)
    folder.sync()
    export(folder, database.url)
    ((row,),) = database.rows("select to_jsonb(odd)::text from verbex.odd")
    found = json.loads(row)
    (shortened,) = (name for name in found if name.startswith("売上"))
    assert len(shortened.encode()) <= 63
    expected = {
        "nul": "a\ufffdb",
        "json_nul": {"a\ufffd": "\\u0000 \ufffd\ufffd \\\ufffd"},
        "mapped": {"k\ufffd": 1.5},
        "listed": ["x", None],
        "nested": {"a": [1]},
        "bytes": "\\x78",
        "huge": 170141183460469231731687303715884105727,
        "exact": 1.25,
        "id": "cab5d4a1-0000-4000-8000-000000000001",
        "naive": "2025-01-02T03:04:05.678901",
        "old": "0099-01-01T00:00:00+00:00",
        "tiny": 1,
        "single": 1.5,
        "nan": "NaN",
        "endless": "Infinity",
        "lines": "multi\nline\\",
        'Ünï "q"!': 7,
        "nothing": None,
    }
    assert {name: found[name] for name in expected} == expected
    assert all(each.is_equal for each in verify(folder, database.url, tables=["odd"]))
    assert written(export(folder, database.url)) == {}


def test_a_value_that_is_refused_stops_no_other(folder: DataFolder, database: Database) -> None:
    """JSON that DuckDB takes and `jsonb` does not, times without end, and keys too long for an index."""
    long_key = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(1_500))
    values = {"a": "1e999999", "b": "NaN", "c": "[" * 9_000 + "]" * 9_000, long_key: '{"kept": 1}'}
    listed = ", ".join(f"('{key}', '{value}'::json)" for key, value in values.items())
    times = "'infinity'::timestamptz as endless, '-infinity'::date as never"
    write_mart(folder, "odd", f"-- grain: key\nselect *, {times} from (values {listed}) t(key, value)")
    land_call(folder, 1, STARTED)
    folder.sync()
    export(folder, database.url)
    found = dict(database.rows("select key, value::text from verbex.odd"))
    assert [found.pop(key) for key in ("a", "b")] == ['"1e999999"', '"NaN"']
    assert found.pop("c") in (values["c"], f'"{values["c"]}"')
    ((key, kept),) = found.items()
    assert (key[:100], len(key), kept) == (long_key[:100], 165, '{"kept": 1}')
    assert database.rows("select count(*) from verbex.odd where endless is null and never is null") == [(4,)]
    assert database.rows("select call_id from verbex.calls") == [("c1",)]
    assert [each for each in verify(folder, database.url) if not each.is_equal] == []


def test_somebodys_view_on_a_table_survives_what_becomes_of_the_table(
    folder: DataFolder, database: Database
) -> None:
    """Columns are added and never dropped; a table that is gone here stays there."""
    write_mart(folder, "mine", "-- grain: call_id\nselect call_id, day, 1 as one from calls")
    land_call(folder, 1, STARTED)
    folder.sync()
    export(folder, database.url)
    database.run("create view public.theirs as select call_id, one, day from verbex.mine")
    write_mart(folder, "mine", "-- grain: call_id\nselect call_id, day, 'new' as added from calls")
    folder.sync()
    export(folder, database.url)
    assert database.rows("select call_id, one, added from verbex.mine") == [("c1", 1, "new")]
    write_mart(folder, "mine", "-- grain: call_id\nselect call_id, day, 2 as one, 'new' as added from calls")
    land_call(folder, 2, STARTED)
    folder.sync()
    export(folder, database.url)
    assert database.rows("select call_id, one from public.theirs order by 1") == [("c1", 2), ("c2", 2)]
    assert all(each.is_equal for each in verify(folder, database.url, tables=["mine"]))
    for one in ("'two'", "4", "'{}'::json"):  # another type, in which no view can read what it read
        write_mart(folder, "mine", f"-- grain: call_id\nselect call_id, day, {one} as one from calls")
        folder.sync()
        export(folder, database.url)
        assert find_unequal(folder, database.url, ["mine"]) == []
        assert database.rows("select call_id, one from public.theirs order by 1") == [("c1", 2), ("c2", 2)]
    write_mart(folder, "mine", "-- grain: call_id\nselect row_number() over () as call_id, day from calls")
    folder.sync()
    export(folder, database.url)
    assert find_unequal(folder, database.url, ["mine"]) == []
    (folder.own_sql_dir / "marts" / "mine.sql").unlink()  # type: ignore[operator]
    folder.sync()
    export(folder, database.url)
    assert len(database.rows("select * from public.theirs")) == 2


def test_a_table_that_was_changed_by_hand_is_compared_as_a_whole(
    folder: DataFolder, database: Database
) -> None:
    """Columns that are gone, renamed, retyped or new, a key or state that is gone; verify says what to do."""
    write_mart(folder, "mine", "-- grain: call_id\nselect call_id, day, status from calls")
    land_call(folder, 0, STARTED)
    folder.sync()
    export(folder, database.url)
    for number, by_hand in enumerate(
        [
            "alter table verbex.mine drop column day",
            "alter table verbex.mine rename column status to state",
            "alter table verbex.mine alter column day type text",
            "alter table verbex.mine drop constraint mine_pkey",
            "alter table verbex.mine add column theirs int not null default 5",
            "drop table verbex.mine cascade",
            "drop table verbex.verbex_sync_state",
        ],
        1,
    ):
        database.run(by_hand)
        land_call(folder, number, STARTED)
        folder.sync()
        if "column day" in by_hand:
            with pytest.raises(TargetError, match="Run `verbex-sync export`"):
                find_unequal(folder, database.url, ["mine"])
        export(folder, database.url, tables=["mine"])
        assert find_unequal(folder, database.url, ["mine"]) == [], by_hand
    database.run("drop table verbex.mine", "create table verbex.mine as select 'theirs' as call_id")
    with pytest.raises(TargetError, match="has a mine that verbex-sync did not make"):
        export(folder, database.url)
    assert database.rows("select * from verbex.mine") == [("theirs",)]


def test_wide_views_only_grow(folder: DataFolder, database: Database) -> None:
    """Somebody's view on one survives a new item, and one whose type changes."""
    land_call(folder, 1, STARTED, ENDED)
    land_answer(folder, "c1", ("Mood", "string", "good"), ("Total (¥)", "number", "12"))
    folder.sync()
    export(folder, database.url)
    wide = 'select call_id, "Mood", "Total (¥)" from verbex.pca_wide_agent'
    assert database.rows(wide) == [("c1", "good", 12.0)]
    database.run(f"create view public.theirs as {wide}")
    land_answer(folder, "c1", ('Said "it\'s"?', "boolean", "true"), ("Mood", "number", "3"), minute=1)
    folder.sync()
    export(folder, database.url)
    assert database.rows("select call_id from public.theirs") == [("c1",)]
    assert database.rows('select "Said ""it\'s""?", "Mood (number)" from verbex.pca_wide_agent') == [
        (True, 3.0)
    ]
    anew = DataFolder(folder.path / "anew")  # which has seen the items in another order, and not all of them
    land_call(anew, 1, STARTED, ENDED)
    land_answer(anew, "c1", ("Total (¥)", "string", "many"), ("Mood", "string", "good"))
    anew.sync()
    export(anew, database.url)
    assert database.rows("select * from public.theirs") == [("c1", "good", None)]
    assert database.rows('select "Total (¥) (text)" from verbex.pca_wide_agent') == [("many",)]


@pytest.mark.parametrize(
    "theirs",
    [
        "create table verbex.calls (call_id text)",
        "create view verbex.agent_daily as select 1 as one",
        "create table verbex.verbex_sync_state (x int)",
    ],
)
def test_what_is_not_ours_is_refused_and_nothing_is_touched(
    folder: DataFolder, database: Database, theirs: str
) -> None:
    """Also if it has the name of a table that comes late."""
    land_call(folder, 1, STARTED)
    folder.sync()
    database.run("create schema verbex", theirs)
    with pytest.raises(TargetError, match=r"Nothing was written. Name another\s+schema"):
        export(folder, database.url)
    assert len(database.rows("select * from information_schema.tables where table_schema = 'verbex'")) == 1
    export(folder, f"{database.url}?schema=other")
    assert database.rows("select call_id from other.calls") == [("c1",)]


def test_a_target_that_refuses_is_named_without_its_secrets(
    folder: DataFolder, server: Server, database: Database
) -> None:
    """A wrong password, a schema without rights, nobody there, a database that is not there."""
    land_call(folder, 1, STARTED)
    folder.sync()
    wrong = "wr:ong p@ss"
    database.run("create role guest login password 'guest-secret'")
    cases = {
        server.url(database.name, password=wrong): "password authentication failed",
        server.url(database.name, user="guest", password="guest-secret"): "permission denied",
        server.url("nowhere"): "does not exist",
        f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:1/d": "refused",
    }
    for url, reason in cases.items():
        with pytest.raises(TargetError, match=reason) as caught:
            export(folder, url)
        assert "create schema" not in str(caught.value)  # nor any other statement, which may quote rows
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        for secret in (wrong, PASSWORD, "guest-secret", "wr%3Aong"):
            assert secret not in str(caught.value)


def test_two_exports_at_once_follow_each_other(folder: DataFolder, database: Database) -> None:
    """The second waits, or says what it waits for and writes nothing."""
    land_call(folder, 1, STARTED)
    folder.sync()
    lock = "select pg_advisory_lock(hashtextextended('verbex-sync verbex', 0))"
    with adbc.connect(database.url) as other, other.cursor() as cursor:
        cursor.execute(lock)
        with pytest.raises(TargetError, match="Another process exports"):
            export(folder, database.url)
        assert database.rows("select 1 from information_schema.schemata where schema_name = 'verbex'") == []
        waiting = threading.Thread(target=export, args=[folder, database.url], kwargs={"wait_s": HANG_S})
        waiting.start()
    waiting.join(HANG_S)
    assert database.rows("select call_id from verbex.calls") == [("c1",)]


def test_a_target_or_a_warehouse_that_went_back_catches_up(
    folder: DataFolder, server: Server, database: Database, tmp_path: Path
) -> None:
    """A target restored from a backup goes on; after a new warehouse only what differs is written."""
    for number in range(2):
        land_call(folder, number, STARTED)
        folder.sync()
        export(folder, database.url)
    restored = Database(server, f"{database.name}_restored")
    database_of_all = Database(server, "postgres")
    database_of_all.run(f"create database {restored.name} template {database.name}")
    for number in range(2, 5):
        land_call(folder, number, STARTED)
        folder.sync()
    export(folder, database.url)
    caught_up = export(folder, restored.url)
    assert set(caught_up.compared_whole) <= {"pca_views", "pipeline_status"}
    assert written(caught_up)["calls"] == (3, 0)
    assert_copied(folder, restored)
    anew = DataFolder(
        tmp_path / "anew", landing_url=str(folder.path / "landing"), own_sql_dir=folder.own_sql_dir
    )
    land_call(folder, 6, STARTED)
    anew.sync()
    assert find_standing(anew, restored.url).publish is None
    compared = export(anew, restored.url)
    assert "calls" in compared.compared_whole
    assert written(compared)["calls"] == (1, 0)
    assert_copied(anew, restored)


def test_a_server_that_dies_in_the_middle_is_as_it_was(
    folder: DataFolder, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tables were written already; readers never see them without the others."""
    land_call(folder, 1, STARTED)
    folder.sync()
    export(folder, database.url)
    land_call(folder, 2, STARTED, ENDED)
    folder.sync()
    write = PostgresqlTarget.write

    def dying(target: PostgresqlTarget, change: Any, publish_id: Any) -> Any:  # noqa: ANN401
        if change.table.name == "calls_enriched":
            server.stop(signal.SIGKILL)
        return write(target, change, publish_id)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresqlTarget, "write", dying)
        with pytest.raises(TargetError):
            export(folder, database.url)
    server.start()
    assert database.rows("select call_id from verbex.calls") == [("c1",)]
    assert database.rows("select count(*) from verbex.events") == [(1,)]
    assert find_standing(folder, database.url).publishes_behind == 1
    export(folder, database.url)
    assert_copied(folder, database)


def test_a_full_disk_at_the_target_is_named_and_leaves_the_copy_as_it_was(
    folder: DataFolder,
) -> None:
    """And the export after it was freed does the rest."""
    land_call(folder, 1, STARTED)
    folder.sync()
    with (
        open_folder() as place,
        mounted(place / "disk", "size=90m,mode=777") as disk,
        serving_postgresql(disk) as server,
    ):
        database = server.make_database()
        export(folder, database.url)
        land_call(folder, 2, STARTED)
        folder.sync()
        ballast = disk / "ballast"
        fill = ["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"]
        subprocess.run(fill, capture_output=True, check=False)
        for number in range(3, 9):
            land_call(folder, number, STARTED, note="x" * 800_000)
        folder.sync()
        with pytest.raises(TargetError, match="No space left on device"):
            export(folder, database.url)
        ballast.unlink()
        server.stop(signal.SIGKILL)
        server.start()
        assert database.rows("select call_id from verbex.calls") == [("c1",)]
        export(folder, database.url)
        assert_copied(folder, database)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the server's user may enter; pytest's are for nobody else."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def survive(folder: DataFolder, database: Database, kill: Kill, *, kills: int, seed: int) -> None:
    """End exports at random lines while calls begin and end; then export once, and compare every row."""
    rng = random.Random(seed)
    for number in range(kills):
        land_call(folder, number, *[STARTED, ENDED][: rng.randint(1, 2)])
        if number > 2:
            land_call(folder, rng.randrange(number), STARTED, ENDED)
        folder.sync(is_full_refresh=rng.random() < 0.1)
        kill(folder, database, rng.randint(1, 900), rng)
        if database.rows("select 1 from information_schema.tables where table_name = 'pipeline_status'"):
            ((calls, counted),) = database.rows(
                "select (select count(*) from verbex.calls), (select calls from verbex.pipeline_status)"
            )
            assert calls == counted
    export(folder, database.url, wait_s=HANG_S)
    assert_copied(folder, database)


def test_interrupted_exports_leave_whole_tables_and_the_next_goes_on(
    folder: DataFolder, database: Database
) -> None:
    """At any line of ours; the slow test ends whole processes, and does it 50 times."""

    def interrupt(folder: DataFolder, database: Database, step: int, _: random.Random) -> None:
        with ended_at(step, EXPORTERS):
            export(folder, database.url, wait_s=HANG_S)

    survive(folder, database, interrupt, kills=4, seed=1)


@pytest.mark.slow
def test_fifty_killed_exports_leave_whole_tables(tmp_path: Path, database: Database) -> None:
    """By SIGKILL at a line of ours, or a moment after it."""

    def kill(folder: DataFolder, database: Database, step: int, rng: random.Random) -> None:
        delay_s = rng.choice([0.0, rng.uniform(0, 0.05)])
        command = [sys.executable, str(EXPORTER), str(folder.path), str(step), str(delay_s)]
        done = subprocess.run(command, input=database.url, text=True, timeout=HANG_S, check=False)
        assert done.returncode in (0, -signal.SIGKILL)

    survive(DataFolder(tmp_path / "data"), database, kill, kills=50, seed=2)
