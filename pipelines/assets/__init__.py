"""Dagster's assets, one file for each kind, and the metadata and checks that they show.

Here belongs what Dagster shows. What does not: the work itself, which runs without Dagster
(`pipelines.warehouse`, `pipelines.enrichment`, `pipelines.reconciliation`).
"""
