"""Getting data in: webhooks received, answers fetched, both kept raw in the landing zone.

Here belong settings, signatures, the raw event, the journal, landing, the receiver, the Verbex
client and the simulator. What does not: Dagster, DuckDB, and any meaning given to an event beyond
its envelope.
"""
