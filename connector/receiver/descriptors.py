"""The limit on file descriptors: enough for all connections, and always some for the journal.

Only this limit belongs here. Many systems set it low. Then idle connections alone could use all descriptors,
no segment could be opened, and no event could be stored.
"""

import resource

RESERVED = 128
"""Descriptors for other uses: segments, landed files, connections to an object store."""

_PER_CONNECTION = 4  # connections in the middle of a TLS handshake are not counted as connections yet


def make_room(connections: int) -> int:
    """Raise this process's limit if it is allowed to, and return how many of `connections` fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * _PER_CONNECTION + RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        wanted = soft
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return connections if wanted == resource.RLIM_INFINITY else max(1, min(connections, wanted - RESERVED))
