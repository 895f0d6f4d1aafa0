"""The published tables in other systems, kept up to date at the cost of what is new.

What is read and written, and when a whole table is compared, belongs here. What changed does not: see
`pipelines.warehouse.changes`. When an export runs does not either: see `pipelines.runs` and
`pipelines.assets`.
"""
