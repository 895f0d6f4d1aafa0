"""A simulated Verbex on localhost: it sends webhooks, serves the REST API, and knows the truth about both.

Everything that a real account would send and answer belongs here, reproducible from a seed. All of it is made
from a `World`. So does a receiver of what rules send, in `connector.simulator.destination`. The results of
verbex-sync do not belong here; tests and the demo compare the two.
"""
