"""The names of assets, checks, steps and jobs, each written once, because users rely on them.

Only names belong here. Tables are named by their files in `sql/`, landed assets by `connector.landing.zones`.
"""

PUBLISHED = "published_warehouse"
ANSWERS = "verbex_answers"
AGREEMENT = "agreement_with_verbex"
COMPACTION = "compacted_landing"
EXPORT_GROUP = "exports"
"""The group of the assets that are named after the targets of exports."""
ACTION_GROUP = "actions"
"""The group of the assets that are named after the rules that act."""
ACT_STEP = "act_on_rules"
"""The step that sends what rules want. It must not have the name of a table, such as `actions`."""

SWEEP = "sweep"
"""The step that reads Verbex's list of calls. A run's days and agents are set in its configuration."""

READABLE_CHECK = "landed_files_are_readable"
KEY_CHECK = "api_key_is_set"
JOURNAL_CHECK = "journal_segments_are_whole"
AGREEMENT_CHECK = "calls_agree_with_verbex"
ACTION_CHECK = "actions_arrive"

LOAD_JOB = "load"
FETCH_JOB = "fetch"
VERIFY_JOB = "verify"
BACKFILL_JOB = "backfill"
COMPACT_JOB = "compact"
EXPORT_JOB = "export"
ACT_JOB = "act"


def action_asset(rule: str) -> str:
    """Return the name of the asset that shows what was done for a rule."""
    return f"actions_of_{rule}"
