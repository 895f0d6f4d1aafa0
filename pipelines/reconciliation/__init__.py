"""Do we have everything? Our tables against Verbex's own list, and against a rebuild. No Dagster.

Here belong the sweep of Verbex's list, the comparison and the rebuild. What does not: the rules that say what
differs (`sql/marts/call_drift.sql`).
"""
