"""The tables: loaded from landing, checked and published. Nothing here uses Dagster.

The warehouse files, the sessions that write them, and the queries that read them belong here. The meaning of
a table does not: see `sql/`. Starting a session does not either: see `pipelines.assets` and `pipelines.runs`.
"""
