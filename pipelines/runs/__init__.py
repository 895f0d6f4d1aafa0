"""Jobs run in this process: once for a command, or on and on in follow mode.

Here belong the order of jobs, and what is reported to Dagster. What does not: what a job does
(`pipelines.assets`), and what is printed (`pipelines.cli`).
"""
