"""What the name or address of a host says about who reaches it.

Only that belongs here. Looking up a name does not: whoever answers may say anything.
"""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address, or the name `localhost`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
