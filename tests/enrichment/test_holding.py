"""A wait that Verbex asks for applies to every fetch, every process and every kind of answer."""

import asyncio
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from support.data_folder import DataFolder, bodies_of, dagster_instance, settings_for

from connector.fetch.calls import Fetched
from connector.simulator.api import ApiServer
from connector.simulator.faults import Faults
from connector.simulator.world import World
from connector.verbex.answer import ApiUnavailableError
from pipelines.enrichment.fetch import fetch_all
from pipelines.enrichment.span import Span
from pipelines.reconciliation.sweep import sweep_span
from pipelines.resources import WarehouseResource
from pipelines.sensors import due_sensor

WORLD = World.build(seed=4, calls=12)
SPAN = Span(date(2025, 11, 10), date(2025, 11, 10))


async def fetch(folder: DataFolder, api: ApiServer) -> Fetched:
    return await asyncio.to_thread(fetch_all, settings_for(folder, api, api_concurrency=1), folder)


async def test_after_a_long_retry_after_nothing_is_asked_until_it_is_over(tmp_path: Path) -> None:
    """The same fetch stops, the next fetch asks for nothing, and Dagster starts no run."""
    folder = DataFolder(tmp_path / "data")
    folder.land(bodies_of(WORLD))
    folder.sync()
    async with ApiServer(WORLD, faults=Faults(too_many=1, retry_after_s=7200)) as api:
        assert (await fetch(folder, api)).stopped_by
        assert api.request_count() == 1
        api.faults = Faults()
        assert "asked us to wait until" in str((await fetch(folder, api)).stopped_by)
        assert api.request_count() == 1
        with dagster_instance(tmp_path) as instance:
            resources = {"warehouse": WarehouseResource(folder)}
            with dg.build_sensor_context(instance=instance, resources=resources) as context:
                decision = due_sensor(has_api_key=True)(context)
        assert isinstance(decision, dg.SkipReason)
        (folder.path / "fetch.hold").unlink()
        assert (await fetch(folder, api)).stopped_by is None
        assert api.request_count() > len(WORLD.calls)


async def test_sweeps_and_fetches_respect_each_others_waits(tmp_path: Path) -> None:
    """They ask with the same account."""
    folder = DataFolder(tmp_path / "data")
    folder.land(bodies_of(WORLD))
    folder.sync()
    async with ApiServer(WORLD, faults=Faults(too_many=1, retry_after_s=7200)) as api:
        for message in ("got 429", "asked us to wait until"):
            with pytest.raises(ApiUnavailableError, match=message):
                await asyncio.to_thread(
                    sweep_span, settings_for(folder, api), folder, SPAN, is_backfill=False
                )
            assert (await fetch(folder, api)).stopped_by
            assert api.request_count() == 1
