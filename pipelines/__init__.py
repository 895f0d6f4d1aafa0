"""Wiring: what runs when, on what, and what is shown of it.

Here belong the SQL models' runner, the warehouse files, Dagster's assets, sensors and checks, and the
command line. What does not: HTTP, the parsing of events, and meaning, which stands in `sql/`.
"""
