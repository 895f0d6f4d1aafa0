"""A Verbex on localhost: sends its webhooks, serves its REST API, and knows the truth about both.

What a real account would send and answer belongs here, seeded and reproducible. What verbex-sync makes
of it does not: tests and the demo compare the two. Everything follows from a `World`.
"""

from connector.simulator.api import ApiServer
from connector.simulator.faults import Faults
from connector.simulator.run import SimulateOptions, SimulateReport, simulate
from connector.simulator.sender import SendOptions, SendReport, send
from connector.simulator.truth import CallTruth, Truth
from connector.simulator.world import World

__all__ = [
    "ApiServer",
    "CallTruth",
    "Faults",
    "SendOptions",
    "SendReport",
    "SimulateOptions",
    "SimulateReport",
    "Truth",
    "World",
    "send",
    "simulate",
]
