"""Dagster's assets, one file for each kind, with the metadata and checks that they show.

What Dagster shows belongs here. The work itself does not, because it runs without Dagster: see
`pipelines.warehouse`, `pipelines.enrichment` and `pipelines.reconciliation`.
"""
