"""Fetching: it asks Verbex and lands every answer, raw.

The fetching of single calls and agents, the listing of whole days, and the rows of attempts belong here. See
`pipelines.enrichment` for what is due, and `sql/` for the meaning of an answer.
"""
