"""Asks Verbex and lands every answer, raw.

Here belong the fetching of single calls and agents, the listing of whole days, and the rows of attempts. What
does not: what is due (`pipelines.enrichment`), and what an answer means (`sql/`).
"""
