"""Dagster's UI, and a guard in front of it.

What makes the UI safe to open in a browser belongs here. What the UI shows does not: see
`pipelines.definitions`.
"""
