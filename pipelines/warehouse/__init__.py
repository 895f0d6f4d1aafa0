"""The tables: brought up to date from landing, checked, and published. No Dagster.

Here belong the warehouse files, the sessions that write them, and the queries that read them. What does not:
what a table means (`sql/`), and who starts a session (`pipelines.assets`, `pipelines.runs`).
"""
