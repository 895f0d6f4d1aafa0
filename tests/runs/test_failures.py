"""A run that fails is told to people, once each, also if they can't be told at first."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import msgspec
import pytest
from pydantic import SecretStr
from support.actions import SECRET
from support.data_folder import dagster_instance

from connector.setting_names import find_unknown_settings
from connector.settings import Settings
from connector.simulator.destination import DestinationServer
from connector.simulator.faults import Faults
from pipelines.actions.alarm import FailedRun, alarm_kinds, alarm_of
from pipelines.actions.destinations import mail_server_of
from pipelines.actions.email import message_of
from pipelines.actions.senders import with_recipient
from pipelines.failures import failure_sensor

PREFIX = "VERBEX_ACTION_PIPELINE_FAILURES"
KEY = "key-of-verbex-0123456789"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path) as instance:
        yield instance


def settings_with(path: Path, **options: str) -> Settings:
    chosen = {f"{PREFIX}_{name}": SecretStr(value) for name, value in options.items()}
    return Settings(
        _env_file=None,
        data_dir=path,
        api_key=SecretStr(KEY),
        action_options=chosen,
        smtp_url=SecretStr("smtp://localhost:2525"),
        smtp_from="Verbex <alerts@example.com>",
    )


def fail(instance: dg.DagsterInstance) -> str:
    """Run a job that fails with a secret in its message, and return the run's id."""

    @dg.op
    def breaks() -> None:
        raise dg.Failure(f"the disk is full\nwhile {KEY} was used")

    @dg.job(name="load")
    def load() -> None:
        breaks()

    result = load.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    return result.run_id


async def look(settings: Settings, instance: dg.DagsterInstance, cursor: str | None) -> str:
    """Let the sensor look once, and return its cursor."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = await asyncio.to_thread(failure_sensor(settings).evaluate_tick, context)
    assert result.cursor is not None
    return result.cursor


def a_minute_later(cursor: str) -> str:
    place = msgspec.json.decode(cursor)
    tried_at = datetime.fromisoformat(place["tried_at"]) - timedelta(minutes=1)
    return msgspec.json.encode(place | {"tried_at": tried_at}).decode()


async def test_people_are_told_of_each_run_that_fails_from_then_on(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """By the job, the run and the reason, without secrets; what does not arrive is sent again as the same."""
    fail(instance)
    async with DestinationServer(faults=Faults(server_error=1)) as destination:
        settings = settings_with(tmp_path, URL=destination.url)
        cursor = await look(settings, instance, None)
        cursor = await look(settings, instance, cursor)
        assert destination.requests == []
        run_ids = [await asyncio.to_thread(fail, instance) for _ in range(2)]
        cursor = await look(settings, instance, cursor)
        assert len(destination.requests) == 1
        cursor = await look(settings, instance, cursor)
        assert len(destination.requests) == 1  # it is tried again after a minute
        destination.faults = Faults()
        cursor = await look(settings, instance, a_minute_later(cursor))
        await look(settings, instance, cursor)
        assert set(destination.handled.values()) == {1}
        assert len({request.webhook_id for request in destination.requests}) == 2
        said = [json.loads(request.body) for request in destination.requests]
    assert [one["run_id"] for one in said] == [run_ids[0], run_ids[0], run_ids[1]]
    assert {one["job"] for one in said} == {"load"}
    assert all(one["error"].startswith("breaks: the disk is full") for one in said)
    assert KEY not in str(said)


async def test_a_destination_that_refuses_for_good_holds_up_no_later_failure(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    async with DestinationServer(SECRET) as strict, DestinationServer() as open_one:
        cursor = await look(settings_with(tmp_path, URL=strict.url), instance, None)
        await asyncio.to_thread(fail, instance)
        cursor = await look(settings_with(tmp_path, URL=strict.url), instance, cursor)
        assert strict.refused == 1
        await asyncio.to_thread(fail, instance)
        await look(settings_with(tmp_path, URL=open_one.url), instance, cursor)
        assert len(open_one.requests) == 1


def test_an_e_mail_goes_to_those_whom_the_setting_names(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, TO="Ops <ops@example.com>")
    assert alarm_kinds(settings) == ["email"]
    run = FailedRun("load", "8f2c", f"events: {KEY} was wrong\r\nBcc: all@example.com", datetime.now(UTC))
    server = mail_server_of(settings)
    message = message_of(with_recipient(alarm_of(settings, "email", run), settings), server.from_address)
    assert str(message["To"]) == "Ops <ops@example.com>"
    assert message["Subject"] == "The load of verbex-sync failed"
    assert "Bcc" not in message
    assert "8f2c" in message.get_content()
    assert KEY not in message.get_content()
    other = message_of(
        with_recipient(alarm_of(settings, "email", replace(run, run_id="91aa")), settings),
        server.from_address,
    )
    assert other["Message-ID"] != message["Message-ID"]


def test_the_options_are_settings_although_no_rule_has_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without them the sensor is off."""
    monkeypatch.chdir(tmp_path)
    environment = {f"{PREFIX}_{name}": "x" for name in ("URL", "SECRET", "HEADERS", "TO")}
    assert find_unknown_settings(environment, []) == {}
    assert find_unknown_settings({"VERBEX_ACTION_OTHER_URL": "x"}, []) != {}
    assert failure_sensor(settings_with(tmp_path)).default_status is dg.DefaultSensorStatus.STOPPED
    on = failure_sensor(settings_with(tmp_path, TO="ops@example.com"))
    assert on.default_status is dg.DefaultSensorStatus.RUNNING
