"""The limit on file descriptors: enough for all connections, and always some for the journal.

Only this limit belongs here, and how it is shared out. Many systems set it low. Then idle connections alone
could use all descriptors, no segment could be opened, and no event could be stored.
"""

import resource

RESERVED = 128
"""Descriptors for other uses: segments, landed files, connections to an object store, and the few connections
that are accepted before one above the limit is closed."""

_HANDSHAKES_PER_CONNECTION = 0.25


def handshakes_beside(connections: int) -> int:
    """Return how many TLS handshakes may be unfinished at the same time, besides the connections."""
    return max(1, int(connections * _HANDSHAKES_PER_CONNECTION))


def make_room(connections: int) -> int:
    """Raise this process's limit if it is allowed to, and return how many of `connections` fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + handshakes_beside(connections) + RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        wanted = soft
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, int((wanted - RESERVED) / (1 + _HANDSHAKES_PER_CONNECTION))))
