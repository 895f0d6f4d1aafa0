"""The jobs, and the times at which they start by themselves.

What a job runs belongs here. Deciding whether there is something to load or to fetch does not: see
`pipelines.sensors`.
"""

import dagster as dg

from connector.landing.zones import LISTED
from pipelines.names import (
    ACT_JOB,
    ACTION_GROUP,
    AGREEMENT,
    ANSWERS,
    BACKFILL_JOB,
    COMPACT_JOB,
    COMPACTION,
    EXPORT_GROUP,
    EXPORT_JOB,
    FETCH_JOB,
    LOAD_JOB,
    SWEEP,
    VERIFY_JOB,
)

_listed, _answers, _agreement, _compaction = (
    dg.AssetSelection.assets(name) for name in (LISTED.relation, ANSWERS, AGREEMENT, COMPACTION)
)
_exports = dg.AssetSelection.groups(EXPORT_GROUP)
_actions = dg.AssetSelection.groups(ACTION_GROUP)
_tables = dg.AssetSelection.all() - _listed - _answers - _agreement - _compaction - _exports - _actions

_SPAN = (
    "In the launchpad `since` and `until` name the first and last UTC day, such as 2025-11-30 (empty: "
    "yesterday and today), and `agents` the ids of agents (empty: all)."
)

JOBS = (
    dg.define_asset_job(LOAD_JOB, _tables, description="Loads what landed into every table, and publishes."),
    dg.define_asset_job(
        FETCH_JOB,
        _answers,
        description=(
            "Asks Verbex for what is due. In the launchpad `is_asking_again: true` asks once more for what "
            "is unavailable, of all calls or of those that `since`, `until` (UTC days) and `agents` name."
        ),
    ),
    dg.define_asset_job(
        VERIFY_JOB,
        _listed | _tables | _agreement,
        description=f"Compares our calls with Verbex's own list. {_SPAN}",
    ),
    dg.define_asset_job(
        BACKFILL_JOB,
        _listed | _tables,
        # All fields, because the launchpad shows these and no other.
        config={
            "ops": {SWEEP: {"config": {"since": "", "until": "", "agents": [], "is_backfill": True}}},
        },
        description=f"Loads from Verbex's list what no webhook reported. {_SPAN}",
    ),
    dg.define_asset_job(COMPACT_JOB, _compaction, description="Merges the small files of closed days."),
)
"""Loading and fetching are separate jobs, so that a slow API never delays a call's row. Verify and backfill
ask Verbex first and then load, so that one run shows what was found."""

# The comparison runs before the backfill, so that it shows what webhooks lost.
_NIGHTLY = ((VERIFY_JOB, "17 4 * * *"), (BACKFILL_JOB, "47 4 * * *"))


EXPORT = dg.define_asset_job(
    EXPORT_JOB, _exports, description="Brings every target of VERBEX_EXPORTS to what is published."
)
"""The job that exports to every target. Without a target there is no such job."""


ACT = dg.define_asset_job(ACT_JOB, _actions, description="Sends what the rules of VERBEX_ACTIONS want.")
"""The job that acts. Without a rule there is no such job."""


def build_export_sensors(*, has_exports: bool) -> list[dg.AutomationConditionSensorDefinition]:
    """Build the sensor that starts an export after each publish, if there is a target."""
    sensor = dg.AutomationConditionSensorDefinition(
        "published_tables",
        target=_exports,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Exports after each publish, and every five minutes to a target whose export failed.",
    )
    return [sensor] if has_exports else []


def build_schedules(*, has_api_key: bool) -> list[dg.ScheduleDefinition]:
    """Build the schedules for every night, UTC: compaction, then verify and backfill of the last two days.

    Without an API key, the last two start no run.
    """
    return [
        dg.ScheduleDefinition(
            name="nightly_compaction",
            job_name=COMPACT_JOB,
            cron_schedule="17 3 * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Merges the small files of closed days.",
        ),
        *(_nightly(job_name, cron, has_api_key=has_api_key) for job_name, cron in _NIGHTLY),
    ]


def _nightly(job_name: str, cron: str, *, has_api_key: bool) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"nightly_{job_name}",
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def nightly() -> dg.RunRequest | dg.SkipReason:
        if not has_api_key:
            return dg.SkipReason("VERBEX_API_KEY is not set, so Verbex can't be asked.")
        return dg.RunRequest()

    return nightly
