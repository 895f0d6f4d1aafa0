"""Every check has a case in which it fails. A check that can't fail proves nothing."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from support.data_folder import NOON, NOON_US, DataFolder, body, spoil
from support.oracle import ANALYSED, ENDED, STARTED

from connector.journal.segment import DAMAGED_SUFFIX
from connector.landing.zones import LISTED, PCA
from connector.settings import Settings
from pipelines.actions.steps import StepRow, land_steps
from pipelines.definitions import build_definitions
from pipelines.models.load import load_sql
from pipelines.models.model import Check, Model
from pipelines.models.sql_file import sql_folder
from pipelines.names import AGREEMENT_CHECK, JOURNAL_CHECK, KEY_CHECK, LOAD_JOB, READABLE_CHECK
from pipelines.resources import WarehouseResource
from pipelines.warehouse import data_folder
from pipelines.warehouse.audit import AuditError, assertions, run_check
from pipelines.warehouse.catalog import create_empty
from pipelines.warehouse.session import open_session

DAY_S = 86_400
MODELS = load_sql(sql_folder()).models
CHECKS = load_sql(sql_folder()).checks
PROMISES = [(model, check) for model in MODELS for check in assertions(model)]


def analysis_without_end(folder: DataFolder) -> None:
    folder.land([body("a", ANALYSED, "call", 0)])


def call_after_last_event(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "known", 0)])
    at = NOON + timedelta(hours=6)
    call = {"call_start_time": (NOON + timedelta(hours=1)).isoformat()}
    land_list(folder, {"call_id": "lost", "outcome": "listed", "body": json.dumps(call).encode()}, at=at)


def only_an_old_start(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", -2 * DAY_S)])


def end_before_start(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 60), body("b", ENDED, "call", 0)])


def end_without_analysis(folder: DataFolder) -> None:
    folder.land([body("a", ENDED, "call", 0), body("b", STARTED, "later", 2 * 3600)])


def more_items_than_columns(folder: DataFolder) -> None:
    items = [{"name": f"item {number}", "type": "string", "result": "x"} for number in range(1001)]
    folder.land_answers(PCA, [{"call_id": "call", "body": json.dumps({"items": items}).encode()}])


def event_without_call(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, None, 0)])


def no_list(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 0)])


def lost_row(folder: DataFolder) -> None:
    """Lose a row that was loaded, in every file, as a fault of ours would."""
    folder.land([body("a", STARTED, "call", 0), body("b", ENDED, "call", 60)])
    spoil_all(folder, "delete from stored.events where trace_id = 'a'")


def two_organizations(folder: DataFolder) -> None:
    theirs = body("b", ENDED, "call", 60).replace(b'"organization"', b'"another"')
    folder.land([body("a", STARTED, "call", 0), theirs])


def days_that_do_not_add_up(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 0), body("b", ENDED, "call", 60)])
    spoil_all(folder, "update agent_daily set pca_pending = 2")


def compared_days_that_do_not_add_up(folder: DataFolder) -> None:
    call_after_last_event(folder)
    spoil_all(folder, "update completeness_daily set calls_both = 2")


def spoil_all(folder: DataFolder, sql: str) -> None:
    """Change a table in every file."""
    folder.sync()
    for path in folder.warehouse_files():
        spoil(path, sql)


def new_field(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 0)])
    later_us = NOON_US + 2 * DAY_S * 1_000_000
    folder.land([body("b", STARTED, "call-2", 2 * DAY_S, language="ja")], received_at_us=later_us)


def other_header(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 0)], headers={"x-webhook-traceid": "b"})


def land_list(folder: DataFolder, *calls: dict[str, Any], at: Any) -> None:  # noqa: ANN401
    window = {"since": (at - timedelta(days=1)).isoformat(), "until": at.isoformat(), "agent_ids": []}
    swept = {"call_id": "", "agent_id": None, "outcome": "swept", "body": json.dumps(window).encode()}
    folder.land_answers(LISTED, [{**row, "attempted_at": at} for row in (*calls, swept)])


def action_that_nothing_sends(folder: DataFolder) -> None:
    at = NOON - timedelta(minutes=61)
    step = StepRow(at, "intended", "rule", "act_1", 1, "http", "{}", 1, happened_at=at, due_at=at, body=b"{}")
    land_steps(folder.landing, "actor", [(0, step)])


CASES: dict[str, Callable[[DataFolder], None]] = {
    "actions_wait_long": action_that_nothing_sends,
    "analyses_without_end": analysis_without_end,
    "calls_after_last_event": call_after_last_event,
    "calls_stuck_in_progress": only_an_old_start,
    "calls_of_two_organizations": two_organizations,
    "compared_days_add_up": compared_days_that_do_not_add_up,
    "days_add_up": days_that_do_not_add_up,
    "ends_before_start": end_before_start,
    "ends_without_analysis": end_without_analysis,
    "event_fields_change": new_field,
    "headers_agree": other_header,
    "items_beyond_wide_view": more_items_than_columns,
    "lifecycle_events_without_call": event_without_call,
    "list_older_than_events": no_list,
    "unaccounted_deliveries": lost_row,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_of_sql_can_fail(tmp_path: Path, check: Check) -> None:
    """A check without a case here fails this test."""
    folder = DataFolder(tmp_path)
    CASES[check.name](folder)
    if check.is_blocking:
        with pytest.raises(AuditError, match=check.name):
            folder.sync()
    else:
        folder.sync()
        assert folder.inspect(check.model)[check.name].row_count > 0


@pytest.mark.parametrize(
    ("model", "check"), PROMISES, ids=[f"{model.name}-{check.name}" for model, check in PROMISES]
)
def test_every_promise_of_a_header_can_fail(model: Model, check: Check) -> None:
    """Two rows of nothing but nulls break each of them."""
    with duckdb.connect() as connection:
        connection.execute("create schema ops; create schema stored")
        create_empty(connection, f"table {model.stored}", [(c.name, c.type) for c in model.columns])
        run_check(connection, model, check)
        for _ in range(2):
            connection.execute(f"insert into {model.stored} default values")
        with pytest.raises(AuditError, match=check.name):
            run_check(connection, model, check)


def unreadable_file(folder: DataFolder) -> None:
    folder.land([body("a", STARTED, "call", 0)])
    (path,) = (folder.path / "landing").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])


def damaged_segment(folder: DataFolder) -> None:
    """Leave in the journal what a receiver keeps of a damaged segment."""
    (folder.path / "journal" / "main").mkdir(parents=True)
    (folder.path / "journal" / "main" / f"r-000001.1234abcd{DAMAGED_SUFFIX}").write_bytes(b"not whole")


def nothing(_: DataFolder) -> None:
    """Leave the folder empty: there is no API key, and nothing was ever compared."""


DAGSTER_CASES: dict[str, Callable[[DataFolder], None]] = {
    READABLE_CHECK: unreadable_file,
    JOURNAL_CHECK: damaged_segment,
    KEY_CHECK: nothing,
    AGREEMENT_CHECK: nothing,
}


def test_every_check_that_dagster_shows_has_a_case(tmp_path: Path) -> None:
    """Checks of SQL, promises of headers, and those of our assets."""
    graph = build_definitions(Settings(_env_file=None, data_dir=tmp_path)).resolve_asset_graph()
    shown = {key.name for key in graph.asset_check_keys}
    assert shown == {*CASES, *(check.name for _, check in PROMISES), *DAGSTER_CASES}


@pytest.mark.parametrize("name", DAGSTER_CASES)
def test_every_check_of_an_asset_can_fail(tmp_path: Path, name: str) -> None:
    """Also one that has nothing to compare: it must not look like agreement."""
    folder = DataFolder(tmp_path / "data")
    DAGSTER_CASES[name](folder)
    definitions = build_definitions(
        Settings(_env_file=None, data_dir=folder.path, api_key=None), WarehouseResource(folder)
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = definitions.resolve_asset_graph().asset_check_keys
    assets = {key.asset_key for key in keys if key.name == name}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[*assets], raise_on_error=False)
    found = [each for each in result.get_asset_check_evaluations() if each.check_name == name]
    assert found
    assert not all(each.passed for each in found)


def test_the_end_of_a_call_is_missed_though_no_call_came_after_it(tmp_path: Path) -> None:
    """The time of the check counts: on a quiet account no newer event would ever show it."""
    folder = DataFolder(tmp_path)
    folder.land([body("a", STARTED, "call", 0)], received_at_us=NOON_US)
    folder.sync()
    ((last_event_at,),) = folder.rows("select last_event_at from calls")
    for longest_s in (1800.5, 86_400, 315_576_000):
        set_longer = data_folder.DataFolder.from_settings(
            Settings(_env_file=None, data_dir=tmp_path, longest_call_s=longest_s)
        )
        with open_session(set_longer) as session:
            (model,) = (model for model in session.models if model.table == "calls")
            for seconds, stuck in ((-1, 0), (1, 1)):
                as_of = last_event_at + timedelta(seconds=longest_s + seconds)
                found = {each.name: each for each in session.inspect(model, set_longer.sql.checks, as_of)}
                assert found["calls_stuck_in_progress"].row_count == stuck


@pytest.mark.parametrize(
    "sql", ["from nowhere", "select call_id::integer from calls", "select nothing(call_id) from calls"]
)
def test_a_check_that_cannot_run_is_not_shown_as_passed(tmp_path: Path, sql: str) -> None:
    """It is a warning with the reason, and the other checks of its table run."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    folder = DataFolder(tmp_path / "data", sql_dir=tmp_path / "sql")
    (tmp_path / "sql" / "checks" / "mine.sql").write_text(
        f"-- A.\n--\n-- on: calls\n-- severity: warn\n{sql}"
    )
    folder.land([body("a", STARTED, "call", 0), body("b", ENDED, "call", -60)])
    definitions = build_definitions(
        Settings(_env_file=None, data_dir=folder.path, api_key=None), WarehouseResource(folder)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def(LOAD_JOB).execute_in_process(instance=instance)
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert not found["mine"].passed
    assert found["mine"].severity == dg.AssetCheckSeverity.WARN
    assert "can't be run" in str(found["mine"].description)
    assert not found["ends_before_start"].passed
    assert folder.inspect("calls")["mine"].problem
