"""What Verbex is asked for, and when. Nothing here uses Dagster.

What is due, the choice of days and agents, and the wait that Verbex asks for belong here. Requests and
answers do not: see `connector.fetch`.
"""
