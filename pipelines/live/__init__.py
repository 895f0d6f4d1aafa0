"""The live page: what the published tables say now, for people who know no SQL.

A process of its own that can do nothing but read. It asks the queries `sql/queries/live_*.sql`, makes HTML of
the answers, and sends what changed to the pages that are open. Writing anything does not belong here.
"""
