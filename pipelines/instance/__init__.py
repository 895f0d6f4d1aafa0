"""Dagster's own storage: its home in the data folder, its old records, its abandoned runs.

Here belongs what keeps that storage small and true. What does not: assets, jobs and runs.
"""
