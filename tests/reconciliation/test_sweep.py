"""A sweep says what it could not read, and names an agent that does not exist."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from support.data_folder import DataFolder, bodies_of, body, settings_for

from connector.landing.zones import LISTED
from connector.settings import Settings
from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.enrichment.span import Span
from pipelines.reconciliation.sweep import IncompleteSweepError, UnknownAgentError, sweep_span

WORLD = World.build(seed=4, calls=40)
DAY = date(2025, 11, 10)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.mark.parametrize("is_backfill", [True, False])
async def test_a_day_listed_in_part_is_no_agreement(folder: DataFolder, *, is_backfill: bool) -> None:
    """The sweep fails and says so. A backfill reads the day again next time."""
    is_short = True

    async def answer(_: web.Request) -> web.Response:
        calls = [{"_id": "a", "call_start_time": "2025-11-10T01:00:00Z"}]
        return web.json_response({"calls": calls, "total_count": 5 if is_short else 1})

    app = web.Application()
    app.router.add_get("/v1/calls/", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        settings = Settings(_env_file=None, data_dir=folder.path, api_url=url, api_key=SecretStr("k"))

        def sweep() -> int:
            return sweep_span(settings, folder, Span(DAY, DAY), is_backfill=is_backfill).days_read

        with pytest.raises(IncompleteSweepError, match="0 of 1 days"):
            await asyncio.to_thread(sweep)
        await asyncio.to_thread(folder.sync)
        assert folder.rows("from ops.swept_windows") == []
        is_short = False
        assert await asyncio.to_thread(sweep) == 1


@pytest.mark.parametrize("is_backfill", [True, False])
async def test_an_unknown_agent_is_an_error(folder: DataFolder, *, is_backfill: bool) -> None:
    """A typing error must not look like agreement. Only calls of the named agents are listed."""
    folder.land(bodies_of(WORLD))
    folder.sync()
    agent_id = WORLD.calls[0].agent.agent_id
    async with ApiServer(WORLD) as api:
        settings = settings_for(folder, api)

        def sweep(*agent_ids: str) -> int:
            span = Span(DAY, DAY, agent_ids)
            return sweep_span(settings, folder, span, is_backfill=is_backfill).calls_listed

        of_agent = sum(call.agent.agent_id == agent_id for call in WORLD.calls)
        assert await asyncio.to_thread(sweep, agent_id) == of_agent < len(WORLD.calls)
        with pytest.raises(UnknownAgentError, match="nosuch"):
            await asyncio.to_thread(sweep, agent_id, "nosuch")


def test_the_sweep_that_knew_the_others_is_the_newest_whatever_its_clock_shows(folder: DataFolder) -> None:
    """One of a wrong clock hides nothing that later ones found, and spares a backfill no day."""
    folder.land([body("t", "CallHandler.CallStarted", "call", 0)])
    started_at = datetime.fromtimestamp(1_762_600_000, UTC)
    day = {"since": "2025-11-08T00:00:00Z", "until": "2025-11-09T00:00:00Z", "is_backfill": True}
    call = {"_id": "call", "call_start_time": started_at.isoformat()}
    for number, ahead in enumerate((timedelta(days=2), timedelta(hours=1)), 1):
        row = {"attempted_at": started_at + ahead, "attempt_number": number, "agent_id": None}
        rows = [{**row, "call_id": "", "outcome": "swept", "body": json.dumps(day).encode()}]
        if number == 1:
            rows.append({**row, "call_id": "call", "outcome": "listed", "body": json.dumps(call).encode()})
        folder.land_answers(LISTED, rows)
        folder.sync()
    assert folder.rows("select is_there from ops.call_comparisons") == [(False,)]
    early = {"as_of": (started_at + timedelta(hours=2))}
    assert folder.query("backfilled_windows", **early).rows == ()
    assert folder.query("last_sweep_number").rows == ((2,),)


async def test_sweeps_are_numbered(folder: DataFolder) -> None:
    """Each is one more than those that are loaded."""
    async with ApiServer(WORLD) as api:
        for number in (1, 2):
            await asyncio.to_thread(
                sweep_span, settings_for(folder, api), folder, Span(DAY, DAY), is_backfill=False
            )
            await asyncio.to_thread(folder.sync)
            assert folder.query("last_sweep_number").rows == ((number,),)
