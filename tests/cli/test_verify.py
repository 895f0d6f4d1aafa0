"""`verify` and `backfill` as typed, against a real server: first the tables differ, then they agree."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from support.command import Run
from support.data_folder import DataFolder, settings_for

from connector.simulator.api import ApiServer
from connector.simulator.world import World
from pipelines.enrichment.fetch import fetch_all

DAY = ("--since", "2025-11-10", "--until", "2025-11-10")


async def test_verify_finds_what_was_lost_and_backfill_loads_it(run: Run, tmp_path: Path) -> None:
    """While calls differ, the exit code is 1 and each of them has a line."""
    world, folder = World.build(seed=5, calls=40), DataFolder(tmp_path / "data")
    folder.land([delivery.event.body for delivery in world.deliveries(losses=0.1)])
    async with ApiServer(world) as api:
        settings = {"VERBEX_API_URL": api.url, "VERBEX_API_KEY": api.api_key, "VERBEX_API_RPS": "10000"}

        async def ask(*words: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(run, *words, **settings)

        differing = await ask("verify", *DAY, "--format", "json")
        assert differing.returncode == 1
        assert "verbex-sync backfill" in differing.stderr
        kinds = {json.loads(line)["kind"] for line in differing.stdout.splitlines()}
        assert "different_end" in kinds
        repaired = await ask("backfill", *DAY)
        assert "Read 40 calls of 1 day." in repaired.stdout, repaired.stderr
        await asyncio.to_thread(fetch_all, settings_for(folder, api), folder)
        agreed = await ask("verify", *DAY)
        assert agreed.returncode == 0, agreed.stdout + agreed.stderr
        assert agreed.stdout.splitlines()[0] == "40 calls compared, 40 agree"


def test_verify_without_a_key_says_which_setting_to_set(run: Run) -> None:
    """The exit code is 1, and there is no traceback."""
    done = run("verify")
    assert done.returncode == 1
    assert "VERBEX_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_key_that_is_not_accepted_ends_with_a_message(run: Run, api: ApiServer) -> None:
    """The exit code is 1, and the message names the setting, without a stack trace or file names."""
    settings = {"VERBEX_API_URL": api.url, "VERBEX_API_KEY": "wrong"}
    done = await asyncio.to_thread(run, "verify", *DAY, **settings)
    assert done.returncode == 1
    assert "VERBEX_API_KEY" in done.stderr
    assert "Stack Trace" not in done.stderr
    assert "File " not in done.stderr


@pytest.mark.parametrize(("since", "until"), [("2025-11-10", "2025-11-09"), ("0001-01-01", "0001-01-02")])
def test_days_that_can_not_be_asked_for_are_refused(run: Run, since: str, until: str) -> None:
    """The exit code is 2, and nothing is asked."""
    done = run("verify", "--since", since, "--until", until)
    assert done.returncode == 2
    assert "--since" in done.stderr
