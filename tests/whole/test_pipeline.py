"""The whole pipeline over real sockets: simulated Verbex, receiver process, Dagster jobs, and tables."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.data_folder import DataFolder, dagster_instance
from support.deadline import HANG_S
from support.receiver import SECRET, ReceiverProcess

from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.sender import SendOptions, send
from connector.simulator.truth import Truth
from connector.simulator.world import World
from pipelines.definitions import build_definitions
from pipelines.enrichment.fetch import fetch_all
from pipelines.runs.execute import run_fetch, run_load


async def play(world: World, data_dir: Path) -> None:
    """Send everything to a real receiver, then load, fetch, and load the answers."""
    with ReceiverProcess(data_dir, ALLOW_UNSIGNED="false", WEBHOOK_SECRETS=SECRET) as receiver:
        options = SendOptions(url=receiver.url, secrets=[SECRET], timeout_s=HANG_S)
        report = await send(world.deliveries(), options)
        assert not report.given_up
        assert receiver.stop() == 0
    async with ApiServer(world) as api:
        settings = Settings(
            data_dir=data_dir, api_url=api.url, api_key=SecretStr(api.api_key), api_rps=10_000
        )
        await asyncio.to_thread(run_jobs, settings)


def run_jobs(settings: Settings) -> None:
    definitions = build_definitions(settings)
    with dagster_instance(settings.data_dir) as instance:
        run_load(definitions, instance)
        run_fetch(definitions, instance)
        run_load(definitions, instance)


# The pipeline runs once for all tests of this module, so they stay in one process.
pytestmark = pytest.mark.xdist_group("pipeline")


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=3, calls=60)


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Return the data folder after everything was sent, loaded and fetched once."""
    folder = DataFolder(tmp_path_factory.mktemp("pipeline") / "data")
    asyncio.run(play(world, folder.path))
    return folder


def test_every_acknowledged_event_is_in_events_once_byte_for_byte(folder: DataFolder, world: World) -> None:
    """From the simulator's socket to a row in SQL, nothing is lost, repeated or changed."""
    stored = {trace_id: text.encode() for trace_id, text in folder.rows("select trace_id, body from events")}
    assert stored == Truth.of(world).bodies
    assert folder.rows("select sum(deliveries)::bigint from events") == [(len(world.deliveries()),)]
    assert folder.rows("select distinct verified_by from events") == [("signature",)]


def test_every_calls_pca_status_is_that_of_its_analysis(folder: DataFolder, world: World) -> None:
    """Announced analyses are fetched. Others were asked for too, and are unavailable after a day."""
    ends = {
        "none": {"none"},
        "failed": {"failed"},
        "ready": {"fetched"},
        "awaiting": {"fetched", "unavailable"},
    }
    statuses = dict(folder.rows("select call_id, pca_status from calls"))
    wrong = {
        call.call_id: (call.pca_state, statuses[call.call_id])
        for call in Truth.of(world).calls.values()
        if statuses[call.call_id] not in ends[call.pca_state]
    }
    assert not wrong
    assert "fetched" in statuses.values()


def test_every_pca_item_is_there_as_verbex_gave_it(folder: DataFolder, world: World) -> None:
    """Names, order, types and results are kept, with Japanese texts, trailing spaces and repeated names."""
    rows = folder.rows("select call_id, name, type, result from pca_items order by call_id, position")
    items: dict[str, list[tuple[Any, ...]]] = {}
    for call_id, *item in rows:
        items.setdefault(call_id, []).append(tuple(item))
    expected = {
        call.call_id: [(item["name"], item["type"], as_text(item["result"])) for item in call.pca_items]
        for call in Truth.of(world).calls.values()
        if call.call_id in items
    }
    assert items == expected
    announced = {call.call_id for call in Truth.of(world).calls.values() if call.pca_state == "ready"}
    assert announced <= items.keys()


def test_pca_results_are_typed_where_their_type_and_text_allow(folder: DataFolder) -> None:
    """A number item whose text is a number, however written, has it as one too. So do boolean items."""
    numbers = dict(folder.rows("select distinct result, result_number from pca_items where type = 'number'"))
    assert numbers.pop("not stated") is None
    assert numbers == {text: float(text.replace(",", "")) for text in numbers}
    assert "1,200" in numbers
    assert folder.rows(
        "select count(*) > 0 from pca_items where type = 'boolean' and result_boolean is not null"
    ) == [(True,)]


def test_an_enriched_call_holds_its_analysis_as_a_map(folder: DataFolder) -> None:
    """Each name has its first result. Further results of that name have numbered names."""
    wrong = folder.rows(
        "select count(*) from calls_enriched join pca_items using (call_id) "
        "where pca[name] is distinct from (select first.result from pca_items first "
        "where first.call_id = pca_items.call_id and first.name = pca_items.name "
        "order by first.position limit 1)"
    )
    assert wrong == [(0,)]
    assert folder.rows("select count(*) > 0 from calls_enriched where map_contains(pca, 'Note (2)')") == [
        (True,)
    ]


def test_every_agent_has_a_view_with_a_column_for_each_of_its_items(folder: DataFolder, world: World) -> None:
    """There are four agents, one of them with 60 items in Japanese. Each call of an agent is a row."""
    for agent in world.agents:
        calls = [call.call_id for call in world.calls if call.agent is agent]
        rows = folder.records(f'from pca_wide."{agent.agent_id}"')
        assert sorted(row["call_id"] for row in rows) == sorted(calls)
        names = [item.name.strip() for item in agent.items]
        if agent.name == "Order desk":  # it uses one name twice, and once more in lower case
            names[2:4] = ["Note (2)", "note (3)"]
        assert list(rows[0])[7:] == names
    assert max(len(agent.items) for agent in world.agents) == 60


def test_a_view_shows_every_result_as_its_item_has_it(folder: DataFolder, world: World) -> None:
    """Texts are unchanged, numbers and booleans are as in pca_items, and without a fetch all are null."""
    results: dict[str, list[Any]] = {}
    columns = "call_id, type, result, result_number, result_boolean"
    for call_id, kind, text, number, boolean in folder.rows(
        f"from pca_items select {columns} order by call_id, position"
    ):
        result = {"number": number, "boolean": boolean}.get(kind, text)
        results.setdefault(call_id, []).append(result)
    assert results
    for agent in world.agents:
        for row in folder.records(f'from pca_wide."{agent.agent_id}"'):
            nothing = [None] * len(agent.items)
            assert list(row.values())[7:] == results.get(row["call_id"], nothing)


def test_every_agents_configuration_was_asked_for_and_landed_raw(folder: DataFolder, world: World) -> None:
    """This happened once for each agent with calls, so its items are known before the next analysis."""
    rows = folder.rows("select agent_id, outcome from ops.agent_attempts order by agent_id")
    assert rows == sorted((agent.agent_id, "answered") for agent in world.agents)
    assert folder.rows("select count(*) from ops.pca_configured_items") == [
        (sum(len(agent.items) for agent in world.agents),)
    ]


def test_transcripts_and_details_of_completed_calls_are_there(folder: DataFolder, world: World) -> None:
    """Messages are in order, with the seconds at which they were spoken, and the text without them."""
    messages = folder.rows("select call_id, role, content from call_messages order by call_id, position")
    expected = [
        (call_id, message["role"], message["content"])
        for call_id, call in sorted(Truth.of(world).calls.items())
        if call.status == "completed"
        for message in call.details["messages"]
    ]
    assert messages == expected
    assert folder.rows(
        "select count(*) from call_messages where starts_s is not null and (text like '(%' or content = text)"
    ) == [(0,)]


def test_agents_days_add_up_to_the_calls(folder: DataFolder) -> None:
    """Every call is counted once, on one day of one agent."""
    assert folder.rows("select sum(calls)::bigint from agent_daily") == folder.rows(
        "select count(*) from calls"
    )


def test_no_credential_of_an_answer_is_in_any_stored_file(folder: DataFolder) -> None:
    """The access token that call details carry is nowhere under the data folder."""
    for path in (path for path in folder.path.rglob("*") if path.is_file()):
        assert b"simulated-access-token" not in path.read_bytes(), path
    assert folder.rows("select count(*) from call_details where body::varchar like '%access_token%'") == [
        (0,)
    ]


def test_a_second_fetch_asks_for_nothing(folder: DataFolder, world: World) -> None:
    """What is stored is not asked for twice, and what was missing is not due yet."""
    before = folder.rows("select count(*) from ops.pca_attempts")
    asyncio.run(ask_again(folder, world))
    assert folder.rows("select count(*) from ops.pca_attempts") == before


def as_text(result: object) -> str:
    """Return a result as text. Most are texts already; a JSON number or boolean keeps its JSON form."""
    return result if isinstance(result, str) else json.dumps(result)


async def ask_again(folder: DataFolder, world: World) -> None:
    async with ApiServer(world) as api:
        key = SecretStr(api.api_key)
        settings = Settings(data_dir=folder.path, api_url=api.url, api_key=key)
        await asyncio.to_thread(fetch_all, settings, folder)
    folder.sync()
