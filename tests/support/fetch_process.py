"""A fetching process for tests that kill it. It asks for every wanted call that is not landed yet.

Run as `python fetch_process.py <api url> <landing> <JSON file of [call_id, agent_id] pairs>`.
"""

import asyncio
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from connector.fetch import attempts as answer_log
from connector.fetch.calls import Due, fetch_due
from connector.landing.files import Landing
from connector.landing.zones import ANSWER_SCHEMA, PCA
from connector.settings import Settings
from connector.simulator.api import DEFAULT_API_KEY


def landed_rows(landing: Landing) -> list[tuple[str, bytes]]:
    """Return every landed answer: `call_id`, body."""
    tables = (landing.read(file, ANSWER_SCHEMA) for file in landing.list_files(PCA))
    rows = [row for table in tables for row in table.to_pylist()]
    return [(row["call_id"], row["body"]) for row in rows if row["outcome"] == "answered"]


def main(api_url: str, landing_url: str, wanted_file: str) -> None:
    """Fetch the missing answers, and land a file after every few of them."""
    answer_log.FLUSH_ROWS = 3
    landing = Landing(landing_url)
    stored = {call_id for call_id, _ in landed_rows(landing)}
    wanted = json.loads(Path(wanted_file).read_text())
    now = datetime.now(UTC)
    due = [Due(call_id, agent_id, now) for call_id, agent_id in wanted if call_id not in stored]
    settings = Settings(
        _env_file=None, api_url=api_url, api_key=DEFAULT_API_KEY, api_rps=300, api_concurrency=4
    )
    summary = asyncio.run(
        fetch_due(due, zone=PCA, settings=settings, landing=landing, rng=random.SystemRandom())
    )
    sys.exit(summary.outcomes["answered"] != len(due))


if __name__ == "__main__":
    main(*sys.argv[1:])
