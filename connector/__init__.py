"""The input side of verbex-sync: it receives webhooks, fetches answers, and lands both as raw rows.

Settings, signatures, the raw event, the journal, landing, the receiver, the Verbex client and the simulator
belong here. Dagster, DuckDB and any meaning of an event beyond its envelope do not.
"""
