"""PCA over time: configurations are asked for and change, answers are revised, and views only grow."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.data_folder import NOON, NOON_US, DataFolder, body
from support.oracle import ANALYSED, ENDED, STARTED

from connector.fetch.calls import Due
from connector.landing.zones import AGENTS, PCA, Zone
from connector.settings import Settings
from connector.simulator.agents import Agent, PcaItem
from connector.simulator.api import ApiServer
from connector.simulator.calls import Call
from connector.simulator.world import World
from pipelines.enrichment.due import list_due
from pipelines.enrichment.fetch import fetch_all

A_DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def answer(*items: tuple[str, str, str], **more: object) -> bytes:
    """Build an analysis or a configuration. Items are given as name, type and result."""
    listed = [{"name": name, "type": kind, "result": result} for name, kind, result in items]
    return json.dumps({"status": 200, "data": {"items": listed, **more}}).encode()


def land_answer(folder: DataFolder, minute: int, content: bytes, *, zone: Zone = PCA) -> None:
    """Land an answer about the call `call` or, in the agents' zone, about its agent."""
    call_id = "call" if zone == PCA else ""
    at = NOON + timedelta(minutes=minute)
    folder.land_answers(zone, [{"call_id": call_id, "attempted_at": at, "body": content}])


def columns_of(folder: DataFolder, view: str = "agent") -> list[tuple[str, str]]:
    """Return the names and types of a published view's columns, in order."""
    return [row[:2] for row in folder.rows(f'describe pca_wide."{view}"')]


def due_agents(folder: DataFolder, as_of: datetime) -> list[str | None]:
    return [due.agent_id for due in due_of(folder, as_of)]


def due_of(folder: DataFolder, as_of: datetime) -> list[Due]:
    return list_due(folder, AGENTS, as_of)


def test_an_agent_has_its_columns_before_any_of_its_calls_is_analysed(folder: DataFolder) -> None:
    """They come from the configuration. A call without an analysis is a row without results."""
    folder.land([body("a", STARTED, "call", 0)])
    land_answer(folder, 0, answer(("Mood", "enum", ""), ("Size", "number", "")), zone=AGENTS)
    folder.sync()
    assert columns_of(folder)[-2:] == [("Mood", "VARCHAR"), ("Size", "DOUBLE")]
    assert folder.rows('select call_id, pca_status, "Mood" from pca_wide.agent') == [("call", "none", None)]


def test_the_order_and_splitting_of_answers_never_change_a_view(tmp_path: Path) -> None:
    """Answers that land in any order, in one sync or many, and a rebuild give the same views."""
    landed = [
        (0, PCA, answer(("Note", "string", "a"), ("note", "string", "b"))),
        (1, AGENTS, answer(("NOTE", "string", ""), ("Size", "number", ""))),
        (2, PCA, answer(("Size", "string", "4"), ("Note", "string", "c"), ("Note", "string", "d"))),
    ]
    often, backwards = DataFolder(tmp_path / "often"), DataFolder(tmp_path / "backwards")
    for minute, zone, content in landed:
        land_answer(often, minute, content, zone=zone)
        often.sync()
    for minute, zone, content in reversed(landed):
        land_answer(backwards, minute, content, zone=zone)
    backwards.sync()
    names = [name for name, _ in columns_of(often)][7:]
    assert names == ["Note", "note (2)", "NOTE (3)", "Size", "Size (text)", "Note (2) (2)"]
    assert columns_of(backwards) == columns_of(often)
    often.sync(is_full_refresh=True)
    assert columns_of(backwards) == columns_of(often)


def test_analyses_without_new_items_touch_no_column(folder: DataFolder) -> None:
    """So the cost of an answer does not depend on the number of columns and calls."""
    land_answer(folder, 0, answer(("Mood", "enum", "good")))
    folder.sync()
    land_answer(folder, 1, answer(("Mood", "enum", "bad")))
    updates = folder.sync()
    assert updates["pca"].has_changed
    for table in ("ops.pca_seen_items", "pca_columns", "pca_views"):
        assert not updates[table].has_changed


def test_a_call_is_shown_with_the_agent_whose_analysis_it_has(folder: DataFolder) -> None:
    """If the announcement names another agent than the start, the results are in that agent's view."""
    folder.land([body("a", STARTED, "call", 0, agent_id="first")])
    folder.land([body("b", ANALYSED, "call", 9, agent_id="second")], received_at_us=NOON_US - 1)
    content = answer(("Mood", "string", "good"))
    folder.land_answers(PCA, [{"call_id": "call", "agent_id": "second", "body": content}])
    folder.sync()
    assert folder.rows('select call_id, "Mood" from pca_wide."second"') == [("call", "good")]
    assert folder.rows("select agent_id, pca_agent_id from calls_enriched") == [("first", "second")]


def test_no_item_of_the_map_is_lost_to_another_of_its_name(folder: DataFolder) -> None:
    """A number added to a repeated name never gives a name that another item has itself."""
    folder.land([body("a", ENDED, "call", 0)])
    items = [(name, "string", str(n)) for n, name in enumerate(["Note", "Note", "Note (2)", "Note", ""])]
    land_answer(folder, 0, answer(*items))
    folder.sync()
    expected = {"Note": "0", "Note (3)": "1", "Note (2)": "2", "Note (4)": "3", "": "4"}
    assert folder.rows("select pca from calls_enriched") == [(expected,)]


def test_an_answer_that_says_the_same_again_is_no_revision(folder: DataFolder) -> None:
    """Each change has a row, also a return to earlier items. pca has the newest body; the others are kept."""
    folder.land([body("a", ANALYSED, "call", 0)])
    good, bad = ("Mood", "string", "good"), ("Mood", "string", "bad")
    answers = [answer(good), answer(good, more="new"), answer(bad), answer(good)]
    for minute, content in enumerate(answers):
        land_answer(folder, minute, content)
        folder.sync()
    revisions = "select revision, is_newest, minute(fetched_at), body from pca_revisions order by revision"
    assert folder.rows(revisions) == [
        (1, False, 0, answers[0].decode()),
        (2, False, 2, answers[2].decode()),
        (3, True, 3, None),
    ]
    assert folder.rows("select body from pca") == [(answers[3].decode(),)]


def test_the_configuration_of_an_agent_is_due_once_a_day(folder: DataFolder) -> None:
    """An agent is due at once if it was never asked for, and a day after each answer."""
    folder.land([body("a", STARTED, "call", 0)])
    folder.sync()
    assert due_agents(folder, NOON) == ["agent"]
    land_answer(folder, 0, answer(("Mood", "enum", "")), zone=AGENTS)
    folder.sync()
    assert due_agents(folder, NOON + A_DAY / 2) == []
    assert due_agents(folder, NOON + A_DAY) == ["agent"]


def test_an_item_that_the_configuration_lacks_makes_it_due_at_once(folder: DataFolder) -> None:
    """The configuration has changed. After one more answer it rests, even if the item is still missing."""
    folder.land([body("a", STARTED, "call", 0)])
    land_answer(folder, 0, answer(("Mood", "enum", "")), zone=AGENTS)
    land_answer(folder, 1, answer(("Mood", "enum", "good")))
    folder.sync()
    assert due_agents(folder, NOON + A_DAY / 2) == []
    land_answer(folder, 2, answer(("Mood", "enum", "good"), ("Size", "number", "4")))
    folder.sync()
    assert due_agents(folder, NOON + A_DAY / 2) == ["agent"]
    land_answer(folder, 3, answer(("Mood", "enum", "")), zone=AGENTS)
    folder.sync()
    assert due_agents(folder, NOON + A_DAY / 2) == []


def test_a_configuration_that_could_not_be_fetched_is_asked_for_again_later(folder: DataFolder) -> None:
    """A failed try gives the time of the next one, and is counted. If unavailable, it is due a day later."""
    folder.land([body("a", STARTED, "call", 0)])
    hour = timedelta(hours=1)
    for outcome, minute, tries in (("failed", 0, 1), ("failed", 1, 2), ("unavailable", 2, 0)):
        tried_at = NOON + timedelta(minutes=minute)
        retry_at = None if outcome == "unavailable" else tried_at + hour
        row = {"call_id": "", "attempted_at": tried_at, "outcome": outcome, "retry_at": retry_at}
        folder.land_answers(AGENTS, [row])
        folder.sync()
        pause = hour if retry_at else A_DAY
        assert due_agents(folder, tried_at + pause / 2) == []
        assert [due.attempts for due in due_of(folder, tried_at + pause)] == [tries]


@pytest.mark.xdist_group("oldest_duckdb")
def test_the_oldest_duckdb_that_bi_tools_bundle_reads_a_view(folder: DataFolder, oldest_duckdb: Path) -> None:
    """DuckDB 1.1.3 reads the same names and values, also from an attached file with `use`."""
    folder.land([body("a", ENDED, "call", 0)])
    items = [("感情 ", "string", "よい"), ('"Size"', "number", "4"), ("It's", "boolean", "true")]
    land_answer(folder, 0, answer(*items))
    folder.sync()
    script = (
        "import duckdb, json, sys\n"
        "connection = duckdb.connect()\n"
        "connection.execute(f\"attach '{sys.argv[1]}' as ours (read_only)\").execute('use ours')\n"
        "attached = connection.execute('from pca_wide.agent').fetchall()\n"
        "connection.close()\n"
        "result = duckdb.connect(sys.argv[1], read_only=True).execute('from pca_wide.agent')\n"
        "names, rows = [name for name, *_ in result.description], result.fetchall()\n"
        "assert attached == rows\n"
        "print(json.dumps([names[7:], rows[0][7:]]))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(oldest_duckdb)}
    command = [sys.executable, "-c", script, str(folder.warehouse.published)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [["感情", '"Size"', "It's"], ["よい", 4.0, True]]


def configured(world: World, agent: Agent, items: Sequence[PcaItem]) -> World:
    """Return the account with another configuration of an agent, and all its calls analysed with it."""
    changed = replace(agent, items=tuple(items))
    calls = tuple(replace(call, agent=changed) if call.agent is agent else call for call in world.calls)
    return replace(world, agents=tuple(changed if a is agent else a for a in world.agents), calls=calls)


def announce(folder: DataFolder, call: Call, trace_id: str) -> None:
    """Land the announcement of a call's analysis, as received just now."""
    event = body(trace_id, ANALYSED, call.call_id, 0, agent_id=call.agent.agent_id)
    folder.land([event], received_at_us=int(datetime.now(UTC).timestamp() * 1_000_000))


async def fetch(folder: DataFolder, api: ApiServer) -> None:
    """Ask the simulated Verbex for everything that is due, and load the answers."""
    settings = Settings(
        _env_file=None, data_dir=folder.path, api_url=api.url, api_key=SecretStr(api.api_key), api_rps=10_000
    )
    await asyncio.to_thread(fetch_all, settings, folder)
    folder.sync()


async def test_a_changed_configuration_only_adds_columns(folder: DataFolder) -> None:
    """Items get another type, disappear, move and are added, and what a dashboard reads stays the same.

    After the second announcement, the new items are fetched, and because of them the new configuration. The
    analysis before is kept as a revision.
    """
    world = World.build(calls=40)
    agent = next(agent for agent in world.agents if len(agent.items) == 60)
    call = next(call for call in world.calls if call.agent is agent and call.has_results)
    async with ApiServer(world) as api:
        announce(folder, call, "first")
        folder.sync()
        await fetch(folder, api)
        before = columns_of(folder, agent.agent_id)
        shown = [name for name, _ in before[7:]]
        assert shown == [item.name for item in agent.items]
        assert api.request_count(agent.agent_id) == 2

        text, boolean, number, *rest = agent.items
        added = (PcaItem("string", "新しい項目"), PcaItem("string", text.name.upper() + " "))
        api.world = configured(world, agent, (*added, replace(number, type="string"), *rest[1:], boolean))
        announce(folder, call, "second")
        folder.sync()
        await fetch(folder, api)
        assert due_agents(folder, datetime.now(UTC)) == [agent.agent_id]
        await fetch(folder, api)
        after = columns_of(folder, agent.agent_id)
        assert after[: len(before)] == before
        assert len(after) == len(before) + 3
        assert folder.rows("select count(*) from ops.agent_attempts") == [(2,)]
        assert_shows(folder, agent, api.world.pca_items(api.world.call_by_id[call.call_id]))
        counts = "select count(*), count(body) from pca_revisions"
        assert folder.rows(counts) == [(2, 1)]


def assert_shows(folder: DataFolder, agent: Agent, items: Sequence[dict[str, Any]]) -> None:
    """Check that the agent's only call shows these results as text, and null for items that are gone."""
    (row,) = folder.records(f'from pca_wide."{agent.agent_id}"')
    keys = folder.rows(
        f"select column_name, key, type from pca_columns where agent_id = '{agent.agent_id}'"  # noqa: S608
    )
    results = {item["name"]: item["result"] for item in items}
    texts = {name: row[name] for name, key, kind in keys if kind == "text" and key in results}
    assert texts == {name: results[key] for name, key, kind in keys if kind == "text" and key in results}
    assert all(row[name] is None for name, key, _ in keys if key not in results)
