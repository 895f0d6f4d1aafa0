"""The proof that nothing is missing: our tables against Verbex's own list, and against a rebuild.

The sweep of Verbex's list, the comparison and the rebuild belong here, all without Dagster. The rules for
what differs do not: see `sql/marts/call_drift.sql`.
"""
