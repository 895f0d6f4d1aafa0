"""The UI with Dagster's daemon beside it, started by the command as a person types it."""

import json
import time
from pathlib import Path

import aiohttp
from support.command import Run
from support.data_folder import DataFolder
from support.deadline import HANG_S
from support.ui import running_ui


def test_what_landed_is_published_while_it_runs_and_nothing_runs_after_it(tmp_path: Path) -> None:
    """Sensors start the load, without a `sync` before. SIGTERM ends the daemon and the code servers too."""
    folder = DataFolder(tmp_path / "data")
    folder.land([json.dumps({"traceId": "t1", "event": "call_started"}).encode()])
    deadline = time.monotonic() + HANG_S
    with running_ui(tmp_path):
        while not folder.warehouse.published.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    while (left := processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert folder.rows("select count(*) from quarantine") == [(1,)], (tmp_path / "ui.log").read_text()
    assert (tmp_path / "ui.log").read_text() == ""  # neither a run nor a look of a sensor prints a line


async def test_runs_of_commands_are_on_the_home_page_and_the_timeline(run: Run, tmp_path: Path) -> None:
    """Both show a run under the code location that it names, if the UI has that location and its job."""
    assert run("sync").returncode == 0
    query = """{
        runsOrError { ... on Runs { results {
            jobName repositoryOrigin { repositoryName repositoryLocationName }
        } } }
        repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } }
    }"""
    with running_ui(tmp_path, "--read-only") as url:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/graphql", json={"query": query}) as got,
        ):
            found = (await got.json())["data"]
    (repository,) = found["repositoriesOrError"]["nodes"]
    (shown,) = found["runsOrError"]["results"]
    assert shown["jobName"] in {job["name"] for job in repository["jobs"]}
    assert shown["repositoryOrigin"] == {
        "repositoryName": repository["name"],
        "repositoryLocationName": repository["location"]["name"],
    }


def processes_in(folder: Path) -> list[str]:
    """Return the process ids that run in a folder, as Linux lists them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append(process.name)
        except OSError:
            continue  # it ended, or belongs to someone else
    return found
