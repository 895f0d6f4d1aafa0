"""File descriptors: enough for all connections, and always some for the journal.

Only their number belongs here. Where it is small, as many systems have it, idle connections alone could
take them all, and then no segment could be opened and no event kept.
"""

import resource

RESERVED = 128
"""For what is no connection: segments, landed files, connections to an object store."""

_PER_CONNECTION = 4  # connections in the middle of a TLS handshake are not counted as connections yet


def make_room(connections: int) -> int:
    """Raise this process's limit as far as it may, and say how many of `connections` there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * _PER_CONNECTION + RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        wanted = soft
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return connections if wanted == resource.RLIM_INFINITY else max(1, min(connections, wanted - RESERVED))
