"""What Verbex is asked for, and when. No Dagster.

Here belong what is due, for which days and agents, and the wait that Verbex asks for. What does not: requests
and answers (`connector.fetch`).
"""
