"""Jobs run in this process: once for a command, or continuously in follow mode.

The order of jobs, and the reports to Dagster, belong here. The work of a job does not: see
`pipelines.assets`. What is printed does not either: see `pipelines.cli`.
"""
