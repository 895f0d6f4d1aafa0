"""The names of assets, checks, steps and jobs, each written once: users hold on to them.

Only names belong here. Tables are named by their files in `sql/`, landed assets by `connector.landing.zones`.
"""

PUBLISHED = "published_warehouse"
ANSWERS = "verbex_answers"
AGREEMENT = "agreement_with_verbex"
COMPACTION = "compacted_landing"

SWEEP = "sweep"
"""The step that reads Verbex's list of calls, by which a run is told what to ask for."""

READABLE_CHECK = "landed_files_are_readable"
KEY_CHECK = "api_key_is_set"
AGREEMENT_CHECK = "calls_agree_with_verbex"

LOAD_JOB = "load"
FETCH_JOB = "fetch"
VERIFY_JOB = "verify"
BACKFILL_JOB = "backfill"
COMPACT_JOB = "compact"
