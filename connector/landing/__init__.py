"""The landing zone, the record of truth: raw rows as Parquet, never edited.

Here belong the zones and their schemas, and how landed files are named, written, read and merged. What does
not: anything about Verbex, and what the rows mean.
"""
