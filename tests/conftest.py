"""Fixtures that several test modules share."""

from collections.abc import AsyncIterator

import pytest

from connector.simulator import ApiServer, World


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    """A simulated Verbex API with 30 calls, without faults; `api.world` and `api.faults` are at hand."""
    async with ApiServer(World.build(calls=30)) as server:
        yield server
