"""Dagster's own storage: its home in the data folder, its old records, and its abandoned runs.

Keeping that storage small and correct belongs here. Assets, jobs and runs do not.
"""
