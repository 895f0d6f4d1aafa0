"""The doctor: what is wrong is found, named with its fix, and nothing else is."""

import asyncio
import json
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr
from support.certificate import make_certificate
from support.command import Run
from support.data_folder import DataFolder, body, settings_for
from support.oracle import STARTED

from connector.landing.zones import CALLS, PCA
from connector.settings import Settings
from connector.simulator.api import ApiServer
from pipelines.doctor.examine import examine
from pipelines.doctor.finding import Finding

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A published folder that is private."""
    (tmp_path / "own" / "marts").mkdir(parents=True)
    made = DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")
    made.land([body("t1", STARTED, "c1", 1)])
    made.sync()
    return made


def examined(folder: DataFolder, settings: Settings | None = None, now: datetime = NOW) -> list[Finding]:
    chosen = settings or settings_of(folder)
    return list(examine(chosen, folder, folder.path.parent / ".env", now))


def settings_of(folder: DataFolder, **changes: object) -> Settings:
    token = SecretStr("a token")
    return Settings(_env_file=None, **{"data_dir": folder.path, "webhook_token": token, **changes})  # type: ignore[arg-type]


def problems(found: list[Finding]) -> dict[str, str]:
    return {each.what: each.found for each in found if each.state == "problem"}


def test_a_healthy_installation_has_no_problem(folder: DataFolder) -> None:
    found = examined(folder)
    assert problems(found) == {}
    assert {"disk", "landing", "tables", "journal"} <= {each.what for each in found}


def test_each_thing_that_is_wrong_is_named_with_its_fix_and_stops_no_other_look(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERBEX_TIMEZONE", "Asia/Tokyo")
    folder.path.chmod(0o755)
    (folder.path.parent / ".env").write_text("VERBEX_API_KEY=k")
    (folder.path / "journal" / "0").mkdir(parents=True)
    (folder.path / "journal" / "0" / "a.segment.damaged").write_bytes(b"?")
    (folder.path.parent / "own" / "marts" / "broken.sql").write_text("selec 1")
    wrong = problems(examined(folder, settings_of(folder, webhook_token=None, host="0.0.0.0")))  # noqa: S104
    fixes = {
        "settings": "VERBEX_TIME_ZONE",
        "proof of senders": "VERBEX_WEBHOOK_SECRETS",
        str(folder.path.parent / ".env"): "chmod 600",
        "data folder": "chmod 700",
        "journal": "a.segment.damaged",
        "SQL": "broken.sql",
        "certificate": "VERBEX_TLS_CERT",
    }
    assert {what: fix in wrong.get(what, "") for what, fix in fixes.items()} == dict.fromkeys(fixes, True)
    assert wrong.keys() == fixes.keys()


def test_a_day_of_landing_counts_once_whatever_landed_on_it(folder: DataFolder) -> None:
    folder.land_answers(PCA, [{"call_id": "c1"}])
    folder.land_answers(CALLS, [{"call_id": "c1"}])
    (told,) = [each for each in examined(folder) if each.what == "landing"]
    assert told.found.endswith(", 1 day")


def test_landed_files_that_nothing_loads_and_that_are_gone_are_told(folder: DataFolder) -> None:
    folder.land([body("t2", STARTED, "c2", 1)])
    (told,) = [each for each in examined(folder) if each.what == "tables"]
    assert told.state == "note"
    assert "1 landed file not loaded" in told.found
    for path in (folder.path / "landing").rglob("*.parquet"):
        path.unlink()
    assert "lacks 1 landed files" in problems(examined(folder))["tables"]


def test_a_certificate_is_read_in_a_handshake_and_told_before_it_ends(folder: DataFolder) -> None:
    cert, key = make_certificate(folder.path.parent, "example")  # for two days
    settings = settings_of(folder, tls_cert=cert, tls_key=key)
    assert "Renew it" in problems(examined(folder, settings))["certificate"]
    assert "certificate" not in problems(examined(folder, settings, NOW - timedelta(days=30)))
    key.write_text("no key")
    assert "can't be loaded" in problems(examined(folder, settings))["certificate"]


def test_a_low_limit_of_open_files_is_told(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hard limit can't be raised again, so only what is reported of it is low."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    (told,) = [each for each in examined(folder) if each.what == "open files"]
    assert told.state == "note"
    assert "LimitNOFILE=" in told.found


async def test_verbex_is_asked_once_for_key_and_clock(folder: DataFolder, api: ApiServer) -> None:
    settings = settings_for(folder, api, webhook_token=SecretStr("a token"))
    found = await in_thread(folder, settings)
    assert problems(found) == {}
    assert {"Verbex's API", "clock"} <= {each.what for each in found if each.state == "ok"}
    assert [each.path for each in api.requests] == ["/v1/calls/"]
    api.api_key = "another"
    assert "401" in problems(await in_thread(folder, settings))["Verbex's API"]


@pytest.mark.parametrize(("ahead_s", "side"), [(3600, "behind Verbex"), (-3600, "ahead of Verbex"), (5, "")])
async def test_a_clock_that_is_wrong_is_told(folder: DataFolder, ahead_s: int, side: str) -> None:
    """By the `Date` of Verbex's answer, which every HTTP server gives."""
    date = (datetime.now(UTC) + timedelta(seconds=ahead_s)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    app = web.Application()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=json.dumps({"calls": []}), content_type="application/json", headers={"Date": date}
        )

    app.router.add_get("/v1/calls/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = settings_of(folder, api_url=url, api_key=SecretStr("k"))
    wrong = problems(await in_thread(folder, settings))
    await runner.cleanup()
    assert side in wrong.get("clock", "")
    assert bool(side) == ("clock" in wrong)


def test_the_command_ends_with_1_if_something_must_be_fixed(run: Run, tmp_path: Path) -> None:
    found = run("doctor", "--format", "json")
    assert found.returncode == 1
    states = {row["what"]: row["state"] for row in map(json.loads, found.stdout.splitlines())}
    assert states["proof of senders"] == "problem"
    assert states["data folder"] == "note"
    assert not (tmp_path / "data").exists()  # it only looks
    assert run("doctor", VERBEX_WEBHOOK_TOKEN="a token").returncode == 0


async def in_thread(folder: DataFolder, settings: Settings) -> list[Finding]:
    """Examine beside the event loop that serves the API."""
    return await asyncio.to_thread(examined, folder, settings)
